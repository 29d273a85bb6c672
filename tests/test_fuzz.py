"""The fuzzer counts its cases and what they contain, and reports a mismatch in its smallest form."""

from __future__ import annotations

from typing import Any

import pytest

from segops.core.events import Event
from segops.core.operators import OPERATORS
from segops.core.rules.parsing import HEADS, WINDOW_KEYS
from segops.core.segments import SegmentSet

from . import fuzz
from .core.contradictory_rules import operands
from .core.test_equivalence import make_definition
from .fuzz_coverage import ROWS, Coverage


def test_cases_are_counted_and_agreement_exits_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--cases", "20", "--seconds", "600", "--seed", "1"]) == 0
    assert "20 cases, 0 mismatches" in capsys.readouterr().out


def test_mismatch_is_shrunk_and_reported() -> None:
    def differ(segments: SegmentSet, steps: list[tuple[str, Any]], watermark: bool) -> None:
        assert len(segments.definitions) < 2, "two at once"

    found = fuzz.Fuzz(differ)
    found.round(1, 50)
    assert 1 <= found.cases <= 50
    (mismatch,) = found.mismatches
    assert mismatch.startswith("seed 1:\n")
    assert "two at once" in mismatch
    assert "'s1':" in mismatch


def test_no_round_begins_after_the_deadline() -> None:
    found = fuzz.Fuzz()
    fuzz.run(100, 0, 1, found)
    assert found.cases == 0


def counted(form: dict[str, Any], steps: list[tuple[str, Any]]) -> dict[str, dict[str, int]]:
    coverage = Coverage()
    coverage.add(SegmentSet([make_definition("s0", form)]), steps, watermark=True)
    return {f"{kind} {name}": dict(counts) for (kind, name), counts in coverage.counts.items() if counts}


def test_table_has_every_node_window_and_operator() -> None:
    assert {name for kind, name in ROWS if kind == "node"} == set(HEADS)
    assert {name for kind, name in ROWS if kind == "window"} == set(WINDOW_KEYS)
    assert {name for kind, name in ROWS if kind == "operator"} == set(OPERATORS)


def test_each_node_is_counted_with_its_own_verdicts() -> None:
    """A case counts once in each column; an ``all`` that is never true does not hide its children."""
    form = {"all": [{"did": "A", "within": "1s"}, {"did": "B", "where": {"p": 1}, "count": {"gte": 2}}]}
    steps = [("event", Event("A", 1_000, "m1", {})), ("clock", 9_000)]
    flipped = {"cases": 1, "true": 1, "false": 1, "by time": 1}
    never = {"cases": 1, "false": 1}
    assert counted(form, steps) == {
        "node all": never,
        "node did": flipped,
        "window within": flipped,
        "key where": never,
        "key count": never,
        "operator eq": never,
        "operator gte": never,
    }


def test_hysteresis_and_references_are_counted() -> None:
    score = {"score": "recency_days", "enter": {"lt": 1}, "exit": {"gte": 2}}
    segments = [make_definition("s0", score), make_definition("s1", {"in_segment": "s0"})]
    coverage = Coverage()
    steps = [("event", Event("A", 1_000, "m1", {})), ("clock", 1_000 + 3 * 86_400_000)]
    coverage.add(SegmentSet(segments), steps, watermark=True)
    flipped = {"cases": 1, "true": 1, "false": 1, "by time": 1}
    rows = [("node", "score"), ("key", "enter"), ("operator", "gte"), ("node", "in_segment")]
    assert [dict(coverage.counts[row]) for row in rows] == [flipped] * 4


def test_too_few_cases_of_a_node_fail_only_if_required(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--cases", "20", "--seconds", "600", "--seed", "1"]
    assert fuzz.main([*arguments, "--require", "21"]) == 1
    out = capsys.readouterr().out
    assert "BELOW 21: node in_segment: " in out
    assert "BELOW 21: node bucket: 0 by time" not in out, "time never changes a bucket"


def test_every_kind_of_leaf_and_operator_gets_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "focused_sets", lambda number: number)
    monkeypatch.setattr(fuzz, "segment_sets", lambda: None)
    drawn = [fuzz.drawn_in(number) for number in range(2 * len(fuzz.FOCUSES))]
    assert set(drawn) == {None, *range(len(fuzz.FOCUSES))}


def test_a_focus_exists_for_every_operator() -> None:
    assert set(operands) == set(OPERATORS)
