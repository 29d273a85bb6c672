"""Whatever the text, the studio answers: the same each time, with a rule that the language accepts."""

from __future__ import annotations

import sys
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segops.studio import Proposal, amend, propose
from tests.studio.helpers import CATALOGUES, NOW_MS, meaning, said
from tests.studio.test_paraphrases import CASES

_WORDS = sorted({word for _, text, _ in CASES for word in text.split()})
_JOINTS = (" and ", " or ", ", ", " but ", ", then ", " who ", ": ", " ", " (", ") ", " without ", ". ")

words = st.lists(st.sampled_from(_WORDS), max_size=40).map(" ".join)
sentences = st.tuples(
    st.sampled_from([text for _, text, _ in CASES]),
    st.sampled_from(_JOINTS),
    st.sampled_from([text for _, text, _ in CASES]),
).map("".join)
texts = st.one_of(st.text(max_size=2_000), words, sentences)
names = st.sampled_from(sorted(CATALOGUES))


def _check(found: Proposal, text: str, name: str) -> None:
    assert (found.rule is not None) == (found.outcome == "rule")
    if found.rule is not None:
        assert meaning(found.rule, CATALOGUES[name])
        assert found.sentence
    else:
        assert found.reason
    assert all(span.text == text[span.start : span.end] for span in found.understood)


@pytest.mark.drawn
@settings(max_examples=150, deadline=None)
@given(texts, names)
def test_any_text_has_an_answer(text: str, name: str) -> None:
    found = said(text, CATALOGUES[name])
    _check(found, text, name)
    assert said(text, CATALOGUES[name]) == found


@pytest.mark.drawn
@settings(max_examples=60, deadline=None)
@given(texts)
def test_any_follow_up_has_an_answer(text: str) -> None:
    rule = {"all": [{"did": "Order Completed", "within": "30d"}, {"in_segment": "vip"}]}
    before = repr(rule)
    found = amend(rule, text, CATALOGUES["shop"], NOW_MS)
    _check(found, text, "shop") if found.rule is None else meaning(found.rule)
    assert repr(rule) == before


@pytest.mark.parametrize(
    "text",
    [
        "(" * 900 + "gold" + ")" * 900,
        "gold and " * 220,
        "not " * 490 + "gold",
        "bought or " * 190,
        "either " * 250 + "gold",
        "except " * 250 + "gold",
        "(bought) or " * 150,
        "at least 3 orders in the last 30 days and " * 45,
        "1 " * 900,
        "one hundred " * 150,
        "1 million " * 150,
        "jakcets " * 240,
        "add " * 480 + "to cart",
    ],
    ids=lambda text: text[:20],
)
def test_a_text_of_many_parts_has_an_answer(text: str) -> None:
    _check(said(text), text[:2_000], "shop")


def test_a_mistake_in_the_grammar_is_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object) -> Proposal:
        raise LookupError("no such item")

    monkeypatch.setattr(sys.modules["segops.studio.propose"], "answered", broken)
    found = propose("bought twice", CATALOGUES["shop"], NOW_MS)
    assert (found.outcome, found.rule) == ("question", None)


def test_an_answer_covers_each_word_once() -> None:
    for name, text, _ in CASES[::7]:
        spans = said(text, CATALOGUES[name]).understood
        assert all(before.end <= after.start for before, after in pairwise(spans)), text
