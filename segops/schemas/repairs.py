"""The lenient decoder for events that the typed decoder rejects: invalid parts are repaired and counted.

It is rarely needed, so its speed does not matter.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from math import isinf
from typing import Any, NoReturn

from segops.core.errors import RejectedEvent

_EMPTY = "something other than an object, read as empty"
_IGNORED = "a time that cannot be read, ignored"
#: Value of the label ``kind`` of repaired events -> the part of the event, its former and its new value.
#: An event counts once per kind.
REPAIRS = {
    "properties": ("properties", _EMPTY),
    "traits": ("traits", _EMPTY),
    "context": ("context", _EMPTY),
    "context_traits": ("context.traits", _EMPTY),
    "surrogate": ("text", "half a surrogate pair, as of an emoji that was cut, read as U+FFFD"),
    "number": ("number", "one beyond the range of a float, read as the nearest"),
    "identifier": ("identifier", "one that is neither a text nor a whole number, left out"),
    "timestamp": ("timestamp", _IGNORED),
    "original_timestamp": ("originalTimestamp", _IGNORED),
    "sent_at": ("sentAt", _IGNORED),
    "received_at": ("receivedAt", _IGNORED),
}
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_PARTS = ("properties", "traits", "context")

#: The escapes of a JSON text, left to right: pairs of surrogates first, then single ones, then any other.
_ESCAPES = re.compile(
    rb"(?s)\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)"
)
_LARGEST = 1.7976931348623157e308
_MAX_DIGITS = 4_300  # the limit of Python's int(), and of the typed decoder


def sentences(repairs: Mapping[str, int]) -> Iterator[str]:
    """Describe the repairs of events, a line for each kind.

    >>> list(sentences({"sent_at": 2}))
    ['sentAt: 2 events with a time that cannot be read, ignored']
    """
    for kind, (part, what) in REPAIRS.items():
        number = repairs.get(kind)
        if number:
            yield f"{part}: {number:,} {'event' if number == 1 else 'events'} with {what}"


def without_surrogates(text: bytes) -> bytes:
    r"""Replace every lone surrogate in a JSON text, as left by a truncated emoji, with U+FFFD.

    >>> without_surrogates(rb'"\ud83d \ud83d\udc5f \\ud83d"')
    b'"\\ufffd \\ud83d\\udc5f \\\\ud83d"'
    """
    return _ESCAPES.sub(lambda found: rb"\ufffd" if found[1] else found[0], text)


def reread(value: bytes, repairs: Counter[str] | None) -> dict[str, Any]:
    """Decode an event, repair its invalid parts, and count each kind in ``repairs``.

    ``properties``, ``traits``, ``context`` and ``context.traits`` that are not objects become empty; lone
    surrogates become U+FFFD; numbers beyond the range of a float become the nearest float.

    Raises RejectedEvent if the bytes are not a JSON object.
    """
    found: set[str] = set()
    event = _loaded(value.removeprefix(BYTE_ORDER_MARK), found)
    if not isinstance(event, dict):
        raise RejectedEvent("wrong_type", "an event is a JSON object")
    found.update(part for part in _PARTS if not isinstance(event.setdefault(part, {}), dict))
    event |= {part: {} for part in _PARTS if part in found}
    if not isinstance(event["context"].setdefault("traits", {}), dict):
        found.add("context_traits")
        event["context"]["traits"] = {}
    if repairs is not None:
        repairs.update(found)
    return event


def _loaded(value: bytes, found: set[str]) -> Any:
    text = without_surrogates(value) if b"\\" in value else value
    if text != value:
        found.add("surrogate")

    def near(text: str) -> float:
        number = float(text)
        if not isinf(number):
            return number
        found.add("number")
        return _LARGEST if number > 0 else -_LARGEST

    def whole(text: str) -> int | float:
        return int(text) if len(text) <= _MAX_DIGITS else near(text)

    try:
        return json.loads(text.decode(), parse_int=whole, parse_float=near, parse_constant=_refuse)
    except UnicodeDecodeError as error:
        raise RejectedEvent("bad_utf8", str(error)) from None
    except ValueError as error:
        raise RejectedEvent("invalid_json", str(error)) from None
    except RecursionError:
        raise RejectedEvent("too_deep", "nested too deeply") from None


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not valid JSON")
