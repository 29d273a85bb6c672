"""Who acts: the actor of this process, its token, and what it may do."""

from __future__ import annotations

import hashlib
import hmac
import re
import socket
import unicodedata
from typing import Final

from segops.config import AudienceSettings, Settings
from segops.config.audiences import AI
from segops.core.audiences.model import Act, AudienceRecord, Origin
from segops.core.audiences.states import SENDING, Action
from segops.core.errors import UserError

_PROGRAM: Final = "segops"
#: The actor that holds audiences whose deliveries exceed their limits.
BREAKER: Final = "breaker"
#: Names of people as issuers have them, in any script. Without a colon none of them is that of an AI.
_PERSON: Final = re.compile(r"[^\W_][\w .,@+'’()-]{0,99}")


class NotAllowed(UserError):
    """The actor may not do this; ``actor`` is its name, "" if it has none."""

    def __init__(self, actor: str, reason: str) -> None:
        super().__init__(reason)
        self.actor = actor


def acting(settings: Settings, *, now_ms: int) -> Act:
    """Return who acts now, and from where.

    Raises NotAllowed without an actor, and for a wrong token where actors are set.
    """
    found = settings.audiences
    if found.actor is None:
        raise NotAllowed("", "SEGOPS_ACTOR is required: the name of who changes audiences")
    _check_token(found, found.actor)
    origin: Origin = "ai" if found.actor.startswith(AI) else "person"
    return Act(found.actor, origin, bool(found.token_hashes), client(), now_ms)


def signed_in(settings: Settings, name: str, *, verified: bool, program: str, now_ms: int) -> Act:
    """Return what a person who is signed in to ``program`` does now. ``verified``: a login proved the name.

    The actor is the name with its compatibility forms and spaces made one, so that no person has two of
    them. Raises NotAllowed for a name that no person can have; and, where another must approve, for one that
    is not proved.
    """
    actor = unicodedata.normalize("NFKC", " ".join(name.split()))
    if not name.isprintable() or _PERSON.fullmatch(actor) is None:
        raise NotAllowed(name, f"{name!r:.120} is no name of a person who acts: expected ann@shop.example")
    if settings.audiences.approval == "other" and not verified:
        raise NotAllowed(name, "SEGOPS_APPROVAL=other requires a login")
    return Act(actor, "person", verified, client(program), now_ms)


def client(program: str = _PROGRAM) -> str:
    """Return the program and the machine."""
    return f"{program} on {socket.gethostname()}"


def _check_token(found: AudienceSettings, actor: str) -> None:
    hashes = found.token_hashes
    if not hashes:
        return
    token = "" if found.actor_token is None else found.actor_token.get_secret_value()
    given = hashlib.sha256(token.encode()).hexdigest()
    if not hmac.compare_digest(hashes.get(actor, "").encode(), given.encode()):
        raise NotAllowed(
            actor, f"SEGOPS_ACTOR_TOKEN is not the token of the actor {actor!r} in SEGOPS_ACTORS"
        )


def check_may(settings: Settings, act: Act, action: Action, record: AudienceRecord) -> None:
    """Raise NotAllowed unless the actor may do this to the audience."""
    key = record.audience.key
    if act.origin != "person" and action in SENDING:
        raise NotAllowed(act.actor, f"{act.actor} may not {action} the audience {key}: only a person may")
    if act.origin == "breaker" and action != "hold":
        raise NotAllowed(act.actor, f"{act.actor} may only hold an audience, not {action} {key}")
    is_signed = record.latest is not None and record.latest.signature
    if is_signed and settings.audiences.audit_key is None:
        raise NotAllowed(
            act.actor, f"SEGOPS_AUDIT_KEY is required: the audit of the audience {key} is signed"
        )
    if action != "approve" or settings.audiences.approval == "self":
        return
    missing = [
        name
        for name, value in (
            ("SEGOPS_ACTORS", settings.audiences.actors),
            ("SEGOPS_AUDIT_KEY", settings.audiences.audit_key),
        )
        if value is None
    ]
    if missing:
        raise NotAllowed(act.actor, f"SEGOPS_APPROVAL=other requires {' and '.join(missing)}")
    if not act.verified:
        raise NotAllowed(act.actor, "SEGOPS_APPROVAL=other requires an actor whose name is proved")
    submitter = () if record.submitted is None else (record.submitted.actor,)
    if act.actor.casefold() in (each.casefold() for each in (*record.authors, *submitter)):
        reason = f"{act.actor} may not approve the audience {key}, having edited or submitted it"
        raise NotAllowed(act.actor, f"{reason} (SEGOPS_APPROVAL=other)")
