"""Spans: the stretches of a request that say a quantity, a duration, a window or a date."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final

from segops.studio.dates import DATE, DATE_WINDOWS, read_date
from segops.studio.durations import WINDOWS
from segops.studio.normalise import Token
from segops.studio.quantities import AGES, QUANTITIES, ages

#: What hides a stretch that was found from the patterns that follow.
_CLAIMED: Final = "\x00"
_LITERAL: Final = "«»"

_Build = Callable[[dict[str, str | None], int], Any]


@dataclass(frozen=True, slots=True)
class Found:
    """A stretch of tokens from ``first`` to ``last``, and what it says."""

    kind: str
    value: Any
    first: int
    last: int


def _patterns() -> tuple[tuple[str, re.Pattern[str], _Build], ...]:
    def timeless(build: Callable[[dict[str, str | None]], Any]) -> _Build:
        return lambda groups, _now_ms: build(groups)

    date = (("T", DATE, lambda groups, now_ms: read_date(groups, "a", now_ms)),)
    return tuple(
        (kind, re.compile(rf"(?<!\S)(?:{pattern})(?!\S)"), build)
        for kind, pattern, build in (
            *(("W", pattern, build) for pattern, build in DATE_WINDOWS),
            *(
                ("Q", _only(pattern, "years? old|years? of age|yrs? old"), timeless(build))
                for pattern, build in QUANTITIES
            ),
            ("Q", AGES, timeless(ages)),
            *(("W", pattern, timeless(build)) for pattern, build in WINDOWS),
            *date,
            *(("Q", pattern, timeless(build)) for pattern, build in QUANTITIES),
        )
    )


def _only(pattern: str, unit: str) -> str:
    """Return a pattern of quantities that ends with a unit."""
    return re.sub(r"\(\?: \(\?P<unit>.*?\)\)\?", f" (?P<unit>{unit})", pattern)


#: Compiled when the module is loaded, so that the first request does not wait for it.
_PATTERNS: Final = _patterns()


def find_spans(tokens: list[Token], now_ms: int, hidden: Collection[int] = ()) -> list[Found]:
    """Return the quantities, windows and dates of a request, in their order; ``hidden`` tokens are left out.

    >>> from segops.studio.normalise import tokens_of
    >>> from segops.studio.numbers import numbered
    >>> [found.kind for found in find_spans(numbered(tokens_of("bought twice in the last 60 days")), 0)]
    ['Q', 'W']
    """
    words = [_word(token, hidden=number in hidden) for number, token in enumerate(tokens)]
    text = " ".join(words)
    starts = [0]
    for word in words:
        starts.append(starts[-1] + len(word) + 1)
    found: list[Found] = []
    for kind, pattern, build in _PATTERNS:
        text = _claim(text, pattern, lambda match: _as_found(kind, match, build, starts, now_ms), found)  # noqa: B023
    return sorted(found, key=lambda each: each.first)


def _word(token: Token, *, hidden: bool) -> str:
    if hidden:
        return _CLAIMED * len(token.norm)
    return _LITERAL if token.literal else token.norm


def _claim(
    text: str, pattern: re.Pattern[str], read: Callable[[re.Match[str]], Found | None], found: list[Found]
) -> str:
    for match in pattern.finditer(text):
        new = read(match)
        if new is not None:
            found.append(new)
            text = text[: match.start()] + _CLAIMED * (match.end() - match.start()) + text[match.end() :]
    return text


def _as_found(kind: str, match: re.Match[str], build: _Build, starts: list[int], now_ms: int) -> Found | None:
    try:
        value = build(match.groupdict(), now_ms)
    except ArithmeticError:
        return None
    if value is None:
        return None
    first = bisect_right(starts, match.start()) - 1
    return Found(kind, value, first, bisect_right(starts, match.end() - 1) - 1)


def covered(found: list[Found]) -> Iterator[int]:
    """Yield the numbers of the tokens in some spans."""
    for each in found:
        yield from range(each.first, each.last + 1)
