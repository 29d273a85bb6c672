"""The second reading of an event whose bytes are not quite an event: what is odd is mended and counted.

Most events never come here. One does when the typed decoder refuses it, and what it costs does not matter.
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
#: Values of the label ``kind`` of mended events -> what part of an event it is, and what it was and became.
#: An event counts once for each.
MENDED = {
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
_MAX_DIGITS = 4_300  # more are not converted by Python; the first reading takes as many


def sentences(mended: Mapping[str, int]) -> Iterator[str]:
    """What was odd about events, a line for each kind.

    >>> list(sentences({"sent_at": 2}))
    ['sentAt: 2 events with a time that cannot be read, ignored']
    """
    for kind, (part, what) in MENDED.items():
        number = mended.get(kind)
        if number:
            yield f"{part}: {number:,} {'event' if number == 1 else 'events'} with {what}"


def without_surrogates(text: bytes) -> bytes:
    r"""A JSON text with U+FFFD for every half of a surrogate pair, as an emoji that was cut leaves one.

    >>> without_surrogates(rb'"\ud83d \ud83d\udc5f \\ud83d"')
    b'"\\ufffd \\ud83d\\udc5f \\\\ud83d"'
    """
    return _ESCAPES.sub(lambda found: rb"\ufffd" if found[1] else found[0], text)


def reread(value: bytes, mended: Counter[str] | None) -> dict[str, Any]:
    """An event with its odd parts mended, each kind counted in ``mended``.

    ``properties``, ``traits``, ``context`` and ``context.traits`` that are no objects are empty; halves of
    surrogate pairs are U+FFFD; numbers beyond the range of a float are the nearest one.

    Raises RejectedEvent for what is no JSON object.
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
    if mended is not None:
        mended.update(found)
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
    raise ValueError(f"{name} is no JSON")
