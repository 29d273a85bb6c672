"""What an approval is bound to, and what voids it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from segops.core.audiences.model import Audience, AudienceRecord, State
from segops.core.audiences.states import APPROVED
from segops.core.scans import with_references
from segops.core.segments import Definition
from segops.core.values import format_instant

_UNDECISIVE: Mapping[str, Any] = {"name": "", "description": "", "goal": None, "alert": None, "written": {}}
_RULE, _AUDIENCE = "rule", "audience"


def meaning_of(audience: Audience) -> str:
    """Return a hash of what decides who is in the audience, and what is sent to whom.

    Its name, description, goal and alerts do not count, nor how it is written.

    >>> email, sms = Audience("a", "vip", "email"), Audience("a", "vip", "sms")
    >>> named = Audience("a", "vip", "email", name="VIP")
    >>> meaning_of(email) == meaning_of(named), meaning_of(email) == meaning_of(sms)
    (True, False)
    """
    deciding = msgspec.structs.replace(audience, **_UNDECISIVE)
    return hashlib.sha256(msgspec.json.encode(deciding, order="sorted")).hexdigest()


def editions_of(audience: Audience, definitions: Mapping[str, Definition]) -> dict[str, str]:
    """Return everything that decides about an audience, by name -> a hash that changes with each edit.

    These are the audience, the rule that was published of it, and each segment that it refers to, directly or
    not. The rule of a segment includes its places, indicators, RFM grid and policy. ``definitions``: those in
    use, by key. A name and a pause are no edits.
    """
    own = audience.definition_key
    used = {each.key: each for each in with_references([own], definitions)}
    editions = {f"segment {key}": _edition(each) for key, each in used.items() if key != own}
    rule = _edition(used[own]) if own in used else ""
    return {_AUDIENCE: meaning_of(audience), _RULE: rule, **dict(sorted(editions.items()))}


def _edition(definition: Definition) -> str:
    """Return a hash that never returns to a former value: an edit that is undone is an edit, too."""
    return f"{definition.version}:{definition.identity}"


def differences(former: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return in words whose editions differ.

    >>> differences({"audience": "1", "segment vip": "1:a"}, {"audience": "1", "segment new": "1:b"})
    ['segment vip is not used any more', 'segment new is used']
    """
    found = []
    for name in sorted(former.keys() | now.keys(), key=lambda name: (name not in former, name)):
        if name not in now:
            found.append(f"{name} is not used any more")
        elif name not in former:
            found.append(f"{name} is used")
        elif former[name] != now[name]:
            found.append(f"{name} was edited")
    return found


class Status(NamedTuple):
    """The state that counts; ``void``: why an approval or a submission of the recorded state does not."""

    state: State
    void: Sequence[str] = ()

    @property
    def why(self) -> str:
        """The state's reason in words; "" if it is the recorded one."""
        return f"void: {'; '.join(self.void)}" if self.void else ""


def status_of(
    record: AudienceRecord, editions: Mapping[str, str], approved: Mapping[str, str] | None, *, now_ms: int
) -> Status:
    """Return the state of an audience that counts: a draft once what was submitted or approved was edited.

    ``editions``: what decides now. ``approved``: the editions in the audit entry of its approval; None if
    there is none that can be trusted. No writer has to take part, so that none can forget to.
    """
    if record.state in APPROVED:
        void = ["its approval is missing or forged"] if approved is None else differences(approved, editions)
    elif record.state == "waiting":
        void = list(_void_submission(record, editions, now_ms))
    else:
        void = []
    return Status("draft", void) if void else Status(record.state)


def _void_submission(record: AudienceRecord, editions: Mapping[str, str], now_ms: int) -> Iterator[str]:
    plan = record.plan
    if plan is None:
        yield "it has no plan"
        return
    yield from differences(plan.editions, editions)
    if now_ms >= plan.expires_ms:
        yield f"the plan {plan.id} expired at {format_instant(plan.expires_ms)}"
