"""A request to imagine events and time for a profile, as clients write it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from segops.core.engine import Engine
from segops.core.errors import RejectedEvent, UserError
from segops.core.events import Event
from segops.core.values import MAX_MS
from segops.schemas.events import decode, route

#: The most imaginary events of a request, and how far it may let time pass.
MAX_EVENTS: Final = 100
MAX_DAYS: Final = 400
_DAY_MS: Final = 86_400_000
_IDENTIFIERS: Final = ("userId", "anonymousId")
#: Stands in for the identifier of an event that names none: it is the profile's.
_ITSELF: Final = "sandbox"


class SandboxStart(NamedTuple):
    """Where a sandbox begins: the definitions in force, the stored profile, and the clock of its partition.

    ``since``: the features of which no profile knows earlier events.
    """

    engine: Engine
    state: bytes
    clock_ms: int
    since: Mapping[int, int]


class SandboxForm(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a request: events as producers send them, and until when time passes.

    ``until_ms``: an instant; ``days``: from the present clock on. At most one of them.
    """

    events: list[dict[str, Any]] = []
    until_ms: int | None = None
    days: float | None = None


class SandboxRequest(NamedTuple):
    """What to imagine: events in the order in which they were given, and until when time passes."""

    events: Sequence[Event]
    until_ms: int


def read_form(body: bytes) -> SandboxForm:
    """Decode the body of a request. Raises UserError."""
    try:
        form = msgspec.json.decode(body, type=SandboxForm)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"body: {error}") from None
    if len(form.events) > MAX_EVENTS:
        raise UserError(f"events: expected at most {MAX_EVENTS}, got {len(form.events)}")
    return form


def sandbox_request(form: SandboxForm, start: SandboxStart) -> SandboxRequest:
    """Return what a form imagines of a profile. Raises UserError, with the place of the mistake.

    An event may leave out its ``type`` (``track``), its identifiers, and its time, which is then the present
    clock. A ``messageId`` is ignored: no imaginary event is a duplicate.
    """
    context_keys = start.engine.segments.context_keys
    events = list(_events(form.events, start.clock_ms, context_keys))
    latest_ms = max([start.clock_ms, *(each.time_ms for each in events)])
    until_ms = _until_ms(form, start.clock_ms, latest_ms)
    if until_ms < latest_ms:
        raise UserError("until_ms: expected an instant that is not before the present clock or an event")
    if until_ms > start.clock_ms + MAX_DAYS * _DAY_MS:
        raise UserError(f"until_ms: expected at most {MAX_DAYS} days after the present clock")
    return SandboxRequest(events, until_ms)


def _until_ms(form: SandboxForm, clock_ms: int, latest_ms: int) -> int:
    if form.days is None:
        return latest_ms if form.until_ms is None else form.until_ms
    if form.until_ms is not None:
        raise UserError("expected until_ms or days, got both")
    if not 0 <= form.days <= MAX_DAYS:
        raise UserError(f"days: expected 0 to {MAX_DAYS}, got {form.days:g}")
    return clock_ms + round(form.days * _DAY_MS)


def _events(written: Sequence[dict[str, Any]], now_ms: int, context_keys: Any) -> Iterator[Event]:
    for number, fields in enumerate(written):
        try:
            yield _event(fields, number, now_ms, context_keys)
        except (RejectedEvent, msgspec.MsgspecError, OverflowError) as error:
            detail = getattr(error, "detail", None) or error
            raise UserError(f"events[{number}]: {detail}") from None


def _event(fields: dict[str, Any], number: int, now_ms: int, context_keys: Any) -> Event:
    message_id = f"{_ITSELF} {number}"
    stands_in = not any(fields.get(name) for name in _IDENTIFIERS)
    form = {"type": "track", **fields, "messageId": message_id, "receivedAt": None}
    line = msgspec.json.encode({**form, "userId": _ITSELF} if stands_in else form)
    routed = route(line, now_ms=MAX_MS, default_time_ms=now_ms)
    event = decode(line, time_ms=routed.time_ms, default_id=message_id, context_keys=context_keys)
    return msgspec.structs.replace(event, user_id=None) if stands_in else event
