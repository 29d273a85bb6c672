"""One event of the demo's input: its bytes, and what orders it."""

from __future__ import annotations

from typing import Any

import msgspec

from segops.core.values import format_instant

_encode = msgspec.json.Encoder().encode


class InputEvent(msgspec.Struct, frozen=True, order=True, gc=False):
    """An event ready to be sent; moments sort by time, then by message."""

    time_ms: int
    message_id: str
    person: str
    line: bytes


def moment(time_ms: int, message_id: str, person: str, call: dict[str, Any]) -> InputEvent:
    """A moment from a call of the Segment spec, to which message id and timestamp are added.

    >>> moment(0, "m1", "u1", {"type": "track", "event": "A", "userId": "u1"}).line
    b'{"type":"track","event":"A","userId":"u1","messageId":"m1","timestamp":"1970-01-01T00:00:00.000Z"}'
    """
    stamped = {**call, "messageId": message_id, "timestamp": format_instant(time_ms)}
    return InputEvent(time_ms, message_id, person, _encode(stamped))
