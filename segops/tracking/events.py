"""Events against a plan: from the bytes that the engine accepts to a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from segops.core.errors import RejectedEvent
from segops.schemas.repairs import reread
from segops.tracking.compiler import CompiledPlan, Verdict

_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class _Fields(msgspec.Struct, gc=False):
    type: Any = None
    event: Any = None
    messageId: Any = None
    properties: Any = None
    traits: Any = None


_fields = msgspec.json.Decoder(_Fields)


def check(plan: CompiledPlan, value: bytes) -> tuple[Verdict | None, str | None]:
    """Return what an event violates, and its messageId."""
    event = _read(value)
    name = event.event if isinstance(event.event, str) else ""
    fields = {"properties": _object(event.properties), "traits": _object(event.traits)}
    verdict = plan.check(str(event.type).strip().lower(), name, fields)
    return verdict, event.messageId if isinstance(event.messageId, str) else None


def _read(value: bytes) -> _Fields:
    try:
        return _fields.decode(value)
    except _UNREADABLE:
        pass
    try:  # the engine repairs it in the same way
        return msgspec.convert(reread(value, None), _Fields)
    except (RejectedEvent, *_UNREADABLE):
        return _Fields()


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
