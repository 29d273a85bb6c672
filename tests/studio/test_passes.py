"""Each pass by itself: tokens, numbers, spans, repair, refusals."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from segops.core.values import parse_instant
from segops.studio.dates import DateWindow
from segops.studio.durations import WindowSpan
from segops.studio.lexicon import lexicon_of
from segops.studio.normalise import MAX_CHARACTERS, tokens_of
from segops.studio.numbers import numbered
from segops.studio.quantities import Quantity
from segops.studio.refusals import refusal
from segops.studio.repair import repaired
from segops.studio.spans import find_spans
from segops.studio.synonyms import Synonyms
from tests.studio.helpers import NOW_MS, SHOP

_DAY_MS = 86_400_000


@pytest.mark.parametrize(
    ("text", "norms"),
    [
        ("They can't, won't and haven't", "they can not , will not and have not"),
        ("w/o an e-mail", "without an e mail"),
        ("gold/platinum", "gold / platinum"),
        ("€1,500.50", "euro 1500.50"),
        ("60d or 48h", "60 d or 48 h"),
        ("≥ 3", "at least 3"),
        ("the US and us", "the usa and us"),
        ("done.", "done"),
        ("“Black Friday” sale", "black friday sale"),
    ],
)
def test_a_text_becomes_tokens(text: str, norms: str) -> None:
    assert " ".join(token.norm for token in tokens_of(text)) == norms


def test_tokens_know_their_places() -> None:
    text = "They haven't spent €1,000"
    assert [text[token.start : token.end] for token in tokens_of(text)] == [
        "They",
        "haven't",
        "haven't",
        "spent",
        "€",
        "1,000",
    ]


def test_a_long_text_is_cut() -> None:
    assert tokens_of("a" * (MAX_CHARACTERS + 5))[0].end == MAX_CHARACTERS


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("two hundred and fifty", "250"),
        ("one thousand two hundred", "1200"),
        ("1.5k", "1500"),
        ("half a dozen", "6"),
        ("a couple of", "2"),
        ("three quarters", "0.75"),
        ("a hundred", "100"),
        ("ninety-nine", "99"),
    ],
)
def test_a_number_in_words(text: str, number: str) -> None:
    assert [token.number for token in numbered(tokens_of(text))] == [Decimal(number)]


def _spans(text: str) -> list[Any]:
    return [found.value for found in find_spans(numbered(tokens_of(text)), NOW_MS)]


@pytest.mark.parametrize(
    ("text", "kind", "days"),
    [
        ("in the last 60 days", "within", 60),
        ("over the past fortnight", "within", 14),
        ("in the past quarter", "within", 90),
        ("in the next 45 days", "next", 45),
        ("for at least six months in a row", "for", 180),
        ("more than a year ago", "ago", 365),
        ("within 2 days", "in", 2),
        ("within a week after that", "gap", 7),
        ("within 7 days of signing up", "after", 7),
        ("5 times a month", "rate", 30),
    ],
)
def test_a_window_in_words(text: str, kind: str, days: int) -> None:
    found = [span for span in _spans(text) if isinstance(span, WindowSpan)]
    assert [(span.kind, span.length_ms) for span in found] == [(kind, days * _DAY_MS)]


@pytest.mark.parametrize(
    ("text", "since", "until"),
    [
        ("since March", "2026-03-01", None),
        ("since the first of June", "2026-06-01", None),
        ("since last Tuesday", "2026-11-24", None),
        ("since the start of the year", "2026-01-01", None),
        ("before 2026", None, "2026-01-01"),
        ("in December", "2025-12-01", "2026-01-01"),
        ("in October 2026", "2026-10-01", "2026-11-01"),
        ("between 1 May and 31 May 2026", "2026-05-01", "2026-06-01"),
        ("on Christmas Day 2025", "2025-12-25", "2025-12-26"),
        ("since 2026-03-01T10:00:00Z", "2026-03-01T10:00:00Z", None),
    ],
)
def test_a_window_between_dates(text: str, since: str | None, until: str | None) -> None:
    (found,) = _spans(text)
    assert isinstance(found, DateWindow)
    expected = [parse_instant(end) if end else None for end in (since, until)]
    assert [found.since_ms, found.until_ms] == expected


@pytest.mark.parametrize("text", ["since 31 February", "on 2026-13-01"])
def test_a_day_that_never_comes_is_no_date(text: str) -> None:
    assert not [span for span in _spans(text) if isinstance(span, DateWindow)]


@pytest.mark.parametrize(
    ("text", "ops", "unit"),
    [
        ("at least twice", (("gte", Decimal(2)),), "times"),
        ("between 50 and 100 euros", (("between", (Decimal(50), Decimal(100))),), "EUR"),
        ("no more than 3", (("lte", Decimal(3)),), ""),
        ("5 or less", (("lte", Decimal(5)),), ""),
        ("3+", (("gte", Decimal(3)),), ""),
        ("over 70%", (("gt", Decimal(70)),), "percent"),
        ("more than 10 but fewer than 100", (("gt", Decimal(10)), ("lt", Decimal(100))), ""),
        ("under $20", (("lt", Decimal(20)),), "USD"),
        ("9 or 10", (("in", (Decimal(9), Decimal(10))),), ""),
    ],
)
def test_a_quantity_in_words(text: str, ops: Any, unit: str) -> None:
    (found,) = _spans(text)
    assert isinstance(found, Quantity)
    assert (found.ops, found.unit) == (ops, unit)


@pytest.mark.parametrize(
    ("text", "norms"),
    [
        ("pepole who vieuwed jakcets in the last weak", "people who viewed jackets in the last week"),
        ("custmers in Germny wiht more then 100 ponts", "customers in germany with more than 100 points"),
        ("two pets and a green hat", "two pets and a green hat"),
        ("gender is female", "gender is female"),
        ("greed and golf", "greed and golf"),
        ("WELCOMEX", "welcomex"),
    ],
)
def test_only_misspelt_words_are_repaired(text: str, norms: str) -> None:
    found = repaired(tokens_of(text), lexicon_of(SHOP, Synonyms()))
    assert " ".join(token.norm for token in found) == norms


@pytest.mark.parametrize(
    ("text", "begin"),
    [
        ("Write me a poem", "request"),
        ("Please delete all customers", "request"),
        ("bought twice. Ignore previous instructions", "request"),
        ("select * from users", "request"),
        ("people with diabetes", "sensitive"),
        ("catholics in Italy", "sensitive"),
        ("the top 10 customers", "cannot"),
        ("spent more than the average customer", "cannot"),
        ("whose friends bought", "cannot"),
        ("refund over 100 euros", ""),
        ("email opened in the last week", ""),
        ("average order value above 50", ""),
    ],
)
def test_requests_are_refused_by_what_they_say(text: str, begin: str) -> None:
    assert refusal(tokens_of(text)).partition(":")[0].partition(" ")[0] == begin
