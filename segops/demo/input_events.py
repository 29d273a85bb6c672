"""One event of the demo's input: its bytes and its sort key."""

from __future__ import annotations

from typing import Any

import msgspec

from segops.core.values import format_instant

_encode = msgspec.json.Encoder().encode


class InputEvent(msgspec.Struct, frozen=True, order=True, gc=False):
    """An event ready to be sent; events sort by time, then by message id."""

    time_ms: int
    message_id: str
    profile: str
    line: bytes


def input_event(time_ms: int, message_id: str, profile: str, call: dict[str, Any]) -> InputEvent:
    """Make an event from a call of the Segment spec, adding message id and timestamp.

    >>> input_event(0, "m1", "u1", {"type": "track", "event": "A", "userId": "u1"}).line
    b'{"type":"track","event":"A","userId":"u1","messageId":"m1","timestamp":"1970-01-01T00:00:00.000Z"}'
    """
    stamped = {**call, "messageId": message_id, "timestamp": format_instant(time_ms)}
    return InputEvent(time_ms, message_id, profile, _encode(stamped))
