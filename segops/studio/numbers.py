"""Numbers: words, fractions and suffixes become tokens with a number."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Final

from segops.studio.normalise import Token

_UNITS: Final = {
    word: Decimal(number)
    for number, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
        ]
    )
}
_TENS: Final = {
    word: Decimal(10 * number)
    for number, word in enumerate(
        ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], 2
    )
}
_SCALES: Final = {
    "hundred": Decimal(100),
    "thousand": Decimal(1_000),
    "grand": Decimal(1_000),
    "million": Decimal(1_000_000),
    "dozen": Decimal(12),
    "k": Decimal(1_000),
}
_FRACTIONS: Final = {"half": Decimal("0.5"), "quarter": Decimal("0.25"), "third": None}
_WORDS: Final = {**_UNITS, **_TENS}
#: Words before which "half" is a part of a duration or of a whole.
_AFTER_HALF: Final = frozenset(
    [
        "a",
        "an",
        "of",
        "the",
        "year",
        "years",
        "hour",
        "hours",
        "day",
        "days",
        "month",
        "months",
        "week",
        "weeks",
        "minute",
        "quarter",
    ]
)
#: A word -> the number of times that it means.
_TIMES: Final = {"once": Decimal(1), "twice": Decimal(2), "thrice": Decimal(3)}
_LARGEST: Final = Decimal(10) ** 15
#: The words that are numbers or parts of one.
NUMBER_WORDS: Final = frozenset(
    (*_WORDS, *_SCALES, *_TIMES, "half", "couple", "pair", "single", "quarter", "quarters")
)
#: After these words "one" is no number.
_NOT_BEFORE_ONE: Final = frozenset(("no", "any", "some", "every", "the", "this", "that", "which"))


def numbered(tokens: list[Token]) -> list[Token]:
    """Return the tokens with each number in words as one token.

    >>> from segops.studio.normalise import tokens_of
    >>> [token.norm for token in numbered(tokens_of("twice, twenty-five or 1.5k, half a dozen"))]
    ['2', 'times', ',', '25', 'or', '1500', ',', '6']
    """
    found: list[Token] = []
    at = 0
    while at < len(tokens):
        length, new = _number_at(tokens, at)
        found.extend(new)
        at += length
    return found


def _number_at(tokens: list[Token], at: int) -> tuple[int, list[Token]]:
    token = tokens[at]
    if token.literal:
        return 1, [token]
    if [each.norm for each in tokens[at : at + 3]] == ["a", "single", "time"]:
        last = tokens[at + 2]
        return 3, [
            replace(token, norm="exactly"),
            _as_number(token, last, Decimal(1)),
            replace(last, norm="times"),
        ]
    if token.norm in _TIMES and not (at and tokens[at - 1].norm == "at"):
        return 1, [_as_number(token, token, _TIMES[token.norm]), replace(token, norm="times")]
    length, value = _value_at(tokens, at)
    if length == 0 or value > _LARGEST:
        return 1, [token]
    return length, [_as_number(token, tokens[at + length - 1], value)]


def _as_number(first: Token, last: Token, value: Decimal) -> Token:
    text = first.text if first is last else f"{first.text} {last.text}"
    return Token(text, _plain(value), first.start, last.end, value)


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}" if value else "0"


def _value_at(tokens: list[Token], at: int) -> tuple[int, Decimal]:
    """Return how many tokens make a number, and its value; 0 tokens if there is none."""
    words = [token.norm for token in tokens[at : at + 8]]
    half = words[:2] == ["a", "half"] and at > 0 and tokens[at - 1].norm == "and"
    special = None if half else _special(words)
    if special is not None:
        return special
    joined = [token.norm for token in tokens[max(0, at - 2) : at]] == ["and", "a"]
    if words[0] == "half" and not joined and (len(words) == 1 or words[1] not in _AFTER_HALF):
        return 1, Decimal("0.5")
    if tokens[at].number is not None:
        return _scaled(tokens, at, 1, tokens[at].number or Decimal(0))
    if words[0] in ("a", "an") and len(words) > 1 and words[1] in _SCALES and words[1] != "k":
        return _scaled(tokens, at, 1, Decimal(1))
    before = tokens[at - 1].norm if at else ""
    if words[0] not in _WORDS or (words[0] == "one" and before in _NOT_BEFORE_ONE):
        return 0, Decimal(0)
    return _spoken(tokens, at)


def _special(words: list[str]) -> tuple[int, Decimal] | None:
    for phrase, value in _PHRASES.items():
        parts = phrase.split()
        if words[: len(parts)] == parts:
            return len(parts), Decimal(value)
    return None


#: Phrases that are numbers; longer ones first.
_PHRASES: Final = {
    "half a dozen": "6",
    "a half dozen": "6",
    "half dozen": "6",
    "half of": "0.5",
    "a third of": "0.3333",
    "a quarter of": "0.25",
    "a couple of": "2",
    "couple of": "2",
    "a couple": "2",
    "a pair of": "2",
    "one half": "0.5",
    "a half": "0.5",
    "three quarters": "0.75",
    "one quarter": "0.25",
    "two thirds": "0.6667",
    "one third": "0.3333",
    "a single": "1",
}


def _scaled(tokens: list[Token], at: int, length: int, value: Decimal) -> tuple[int, Decimal]:
    """Read the scale after a number: "2 thousand", "1.5k"."""
    while at + length < len(tokens) and tokens[at + length].norm in _SCALES and value < _LARGEST:
        scale = tokens[at + length]
        if scale.norm == "k" and scale.start != tokens[at + length - 1].end:
            break
        value, length = value * _SCALES[scale.norm], length + 1
    return length, value


def _spoken(tokens: list[Token], at: int) -> tuple[int, Decimal]:
    """Read a number in words: "two hundred and fifty"."""
    total = part = Decimal(0)
    length = used = 0
    while at + length < len(tokens) and max(total, part) < _LARGEST:
        word = tokens[at + length].norm
        following = tokens[at + length + 1].norm if at + length + 1 < len(tokens) else ""
        if word in _WORDS and _fits(part, _WORDS[word], starts=length == 0):
            part += _WORDS[word]
        elif word in _SCALES and word != "k" and length:
            scaled = (part or 1) * _SCALES[word]
            total, part = (total + scaled, Decimal(0)) if _SCALES[word] >= 1_000 else (total, scaled)
        elif word == "and" and length and part >= 100 and following in _WORDS:
            length += 1
            continue
        else:
            break
        length += 1
        used = length
    return used, total + part


def _fits(part: Decimal, value: Decimal, *, starts: bool) -> bool:
    """Whether a word can go on with a number: "twenty" with "five", "hundred" with "ten"."""
    if starts or (part and part % 100 == 0):
        return True
    return part == 0 or (
        part % 100 in _TENS.values() and part % 10 == 0 and 0 < value < 10 and part % 100 >= 20
    )
