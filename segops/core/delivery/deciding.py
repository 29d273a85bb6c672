"""The next message about an address, and what is settled without one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from segops.core.audiences.model import Audience, AudienceRecord
from segops.core.delivery.messages import Message, Person
from segops.core.delivery.model import CAPPED, DEAD, DISCARDED, DROPPED, ERASED, EXISTING, Entry, Target, Told

NEVER: Final[Mapping[str, int]] = {}


class Terms(NamedTuple):
    """On which terms an audience tells its destinations.

    ``activated_ms``: its first approval. ``discarded_ms``: changes published up to then are not told; None:
    all are.
    """

    audience: Audience
    activated_ms: int
    discarded_ms: int | None = None


def terms_of(record: AudienceRecord) -> Terms:
    """Return the terms of an approved audience."""
    released = record.released
    discarded_ms = released.at_ms if released is not None and released.discard else None
    return Terms(record.audience, record.activated_ms or record.since_ms, discarded_ms)


def decide(
    entry: Entry, address: str, terms: Terms, *, told_ms: Mapping[str, int] = NEVER, now_ms: int
) -> Message | Told | None:
    """Return the message that is due, or what is settled without one; None if nothing is to be done.

    ``told_ms``: of which entries the person was told through the audience's channel: change -> instant. What
    several destinations are told of one entry counts once.
    """
    wanted, told = entry.wanted, entry.told
    if wanted is None:
        if told is None or not told.may_be_member:
            return None
        return _exit(entry.gone, told, address, terms, now_ms)
    if told is not None and told.member and told.tried in ("", "updated"):
        return _update(wanted, told, address, terms, now_ms)
    if told is not None and told.skipped and told.change_id == wanted.change_id:
        return None
    if told is not None and told.tried:
        return _message("entered", wanted, address, terms)
    return _entry(wanted, address, terms, told_ms, now_ms)


def _entry(
    wanted: Target, address: str, terms: Terms, told_ms: Mapping[str, int], now_ms: int
) -> Message | Told:
    if (why := _unwanted(wanted, terms, told_ms, now_ms)) is not None:
        profile_id = wanted.person.profile_id
        return Told(False, wanted.change_id, profile_id, now_ms, skipped=why)
    return _message("entered", wanted, address, terms)


def _unwanted(wanted: Target, terms: Terms, told_ms: Mapping[str, int], now_ms: int) -> str | None:
    """Return why an entry is not told."""
    audience, since_ms = terms.audience, wanted.since_ms or wanted.occurred_ms
    if audience.existing == "only_new" and since_ms <= terms.activated_ms:
        return EXISTING
    if terms.discarded_ms is not None and wanted.published_ms <= terms.discarded_ms:
        return DISCARDED
    cap = audience.frequency
    if cap is not None:
        others = (at for change_id, at in told_ms.items() if change_id != wanted.change_id)
        if sum(at > now_ms - cap.per_ms for at in others) >= cap.at_most:
            return CAPPED
    return None


def _exit(gone: Target | None, told: Told, address: str, terms: Terms, now_ms: int) -> Message | Told | None:
    target = _forgotten(told, now_ms) if gone is None else gone
    if told.skipped and told.change_id == target.change_id:
        return None
    if not told.tried and terms.discarded_ms is not None and target.published_ms <= terms.discarded_ms:
        return msgspec.structs.replace(told, change_id=target.change_id, at_ms=now_ms, skipped=DISCARDED)
    return msgspec.structs.replace(_message("exited", target, address, terms), since_ms=told.since_ms)


def _forgotten(told: Told, now_ms: int) -> Target:
    """Return the exit of a membership that has left no trace; its id is the same each time."""
    change_id = hashlib.sha256(f"{told.change_id}|{ERASED}".encode()).hexdigest()
    return Target(False, change_id, 0, ERASED, now_ms, now_ms, Person(told.profile_id))


def _update(wanted: Target, told: Told, address: str, terms: Terms, now_ms: int) -> Message | Told | None:
    if wanted.properties == told.properties and not told.tried:
        return None
    if not told.tried and terms.discarded_ms is not None and wanted.published_ms <= terms.discarded_ms:
        return msgspec.structs.replace(told, properties=wanted.properties, at_ms=now_ms, skipped=DISCARDED)
    found = _message("updated", wanted, address, terms)
    digest = hashlib.sha256(msgspec.json.encode(wanted.properties, order="sorted")).hexdigest()
    change_id = hashlib.sha256(f"{wanted.change_id}|{digest}".encode()).hexdigest()
    return msgspec.structs.replace(found, change_id=change_id, since_ms=told.since_ms)


def _message(action: str, target: Target, address: str, terms: Terms) -> Message:
    audience = terms.audience
    return Message(
        action,  # type: ignore[arg-type]
        audience.key,
        address,
        target.person,
        target.change_id,
        target.sequence,
        target.reason,
        target.occurred_ms,
        target.since_ms,
        target.until_ms,
        audience.reasons.get(target.reason) == "quiet",
        target.properties,
    )


def tried(message: Message, entry: Entry, now_ms: int) -> Told:
    """Return what is to be remembered before a message is sent: that the destination may take it.

    Without it, a crash after the request would leave a member there whose membership ends before it is
    repeated.
    """
    told = entry.told
    if told is None:
        return Told(False, "", message.person.profile_id, now_ms, tried=message.action)
    return msgspec.structs.replace(told, tried=message.action, at_ms=now_ms)


def accepted(message: Message, entry: Entry, now_ms: int) -> Told | None:
    """Return what the destination was told by a message that it took; None: nothing has to be remembered."""
    if message.action == "exited":
        return None
    told = entry.told
    change_id = told.change_id if message.action == "updated" and told is not None else message.change_id
    profile_id = message.person.profile_id
    return Told(True, change_id, profile_id, now_ms, message.since_ms, message.properties)


def refused(message: Message, entry: Entry, now_ms: int, *, why: str, detail: str) -> Told:
    """Return what is settled by a message that was not told: the destination knows the same as before.

    ``entry`` is as it was before the message was tried.
    """
    told, profile_id = entry.told, message.person.profile_id
    if told is None:
        return Told(False, message.change_id, profile_id, now_ms, skipped=why, detail=detail)
    settled = msgspec.structs.replace(told, at_ms=now_ms, skipped=why, detail=detail)
    if message.action == "updated":
        return msgspec.structs.replace(settled, properties=message.properties, tried="")
    return msgspec.structs.replace(settled, change_id=message.change_id, profile_id=profile_id)


Ask = Literal["retry", "drop", "again"]


def answered(told: Told, ask: Ask) -> Told | None:
    """Return what is remembered after a person has asked for something; None: nothing.

    ``retry`` and ``drop`` are about a refused message, ``again`` about a member whom the destination lost:
    the same message is sent once more.
    """
    if ask == "again":
        return msgspec.structs.replace(told, tried="entered") if told.member else told
    if told.skipped != DEAD:
        return told
    if ask == "drop":
        return msgspec.structs.replace(told, skipped=DROPPED)
    if not told.may_be_member:
        return None
    return msgspec.structs.replace(told, change_id="", properties={}, skipped="", detail="")


def properties_of(
    named: Sequence[str], traits: Mapping[str, object], indicators: Mapping[str, object]
) -> dict[str, object]:
    """Return the values of ``indicator.NAME`` and ``trait.PATH`` by name; missing ones are left out.

    >>> properties_of(["indicator.aov", "trait.name.first"], {"name": {"first": "Ann"}}, {"aov": 7})
    {'aov': 7, 'name.first': 'Ann'}
    """
    found = {}
    for each in named:
        kind, _, name = each.partition(".")
        value = indicators.get(name) if kind == "indicator" else _at(traits, name.split("."))
        if value is not None:
            found[name] = value
    return found


def _at(value: object, path: Sequence[str]) -> object:
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value
