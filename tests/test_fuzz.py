"""The fuzzer counts its cases and what they contain, aims at what is rare, and reports mismatches."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, seed
from hypothesis import strategies as st

from segops.core.events import Event
from segops.core.operators import OPERATORS
from segops.core.rules.parsing import FIGURES, HEADS, WINDOW_KEYS
from segops.core.segments import SegmentSet

from . import fuzz
from .core.contradictory_rules import operands
from .core.strategies import composite
from .core.test_equivalence import make_definition
from .fuzz_aims import evenly, sources
from .fuzz_coverage import GOALS, ROWS, STILL, Coverage, Goal, columns_of
from .fuzz_streams import steps_about, value_near

_RARE = (Goal(("operator", "month"), "true"), Goal(("window", "calendar"), "by time"))


def test_cases_are_counted_and_agreement_exits_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--cases", "20", "--seconds", "600", "--seed", "1", "--processes", "1"]) == 0
    assert "20 cases, 0 mismatches" in capsys.readouterr().out


def test_mismatch_is_shrunk_and_reported() -> None:
    def differ(segments: SegmentSet, steps: list[tuple[str, Any]], watermark: bool) -> None:
        assert len(segments.definitions) < 2, "two at once"

    result = fuzz.run_round(fuzz.Round(1, 20), differ)
    assert 1 <= result.cases <= 20
    assert result.mismatch is not None
    assert result.mismatch.startswith("again with --cases 20 --seed 1 --goals ''\n")
    assert "two at once" in result.mismatch
    assert "'s1':" in result.mismatch


def test_printed_options_draw_the_same_cases() -> None:
    def drawn(options: fuzz.Round) -> list[str]:
        cases: list[str] = []
        fuzz.run_round(options, lambda *case: cases.append(str((case[0].definitions, case[1:]))))
        return cases

    options = fuzz.Round(3, 5, _RARE)
    assert options.again() == ("--cases 5 --seed 3 --goals 'operator month: true,window calendar: by time'")
    again = fuzz.Round(3, 5, fuzz.goals_named("operator month: true,window calendar: by time"))
    assert drawn(again) == drawn(options)


def test_given_goals_replace_the_rarest(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--cases", "5", "--seed", "3", "--goals", "node bucket: true", "--processes", "1"]
    assert fuzz.main([*arguments, "--require", "5"]) == 1
    assert "TOO FEW: node bucket: cases, " not in capsys.readouterr().out


def test_no_round_begins_after_the_deadline(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--cases", "100", "--seconds", "0", "--seed", "1", "--require", "1"]) == 1
    assert "TOO FEW: node did: cases, 0" in capsys.readouterr().out


def test_goals_of_a_batch_are_the_rarest_and_none_is_pursued_twice() -> None:
    first, *others = fuzz.batch(7, 10_000, GOALS)
    assert (first.seed, first.cases, first.goals) == (7, fuzz.ROUND, ())
    pursued = [goal for each in others for goal in each.goals]
    assert sorted(pursued) == sorted(GOALS[: len(pursued)])
    assert {len(each.goals) for each in others} == {fuzz.AIMS}
    assert [each.seed for each in others] == list(range(8, 7 + fuzz.BATCH))


def test_a_batch_has_no_more_cases_than_are_left() -> None:
    assert [each.cases for each in fuzz.batch(7, fuzz.ROUND + 20, GOALS)] == [fuzz.ROUND, 20]


def counted(form: dict[str, Any], steps: list[tuple[str, Any]]) -> dict[str, dict[str, int]]:
    coverage = Coverage()
    coverage.add(SegmentSet([make_definition("s0", form)]), steps, watermark=True)
    return {f"{kind} {name}": dict(counts) for (kind, name), counts in coverage.counts.items() if counts}


def test_table_has_every_node_figure_window_and_operator() -> None:
    assert {name for kind, name in ROWS if kind == "node"} == set(HEADS)
    assert {name for kind, name in ROWS if kind == "figure"} == set(FIGURES)
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


def test_figures_that_are_compared_are_counted() -> None:
    form = {"compare": [{"did": "A", "within": "1s"}, "gt", {"days_since_last": "B"}]}
    steps = [("event", Event("B", 1_000, "m1", {})), ("event", Event("A", 1_000, "m2", {})), ("clock", 9_000)]
    flipped = {"cases": 1, "true": 1, "false": 1, "by time": 1}
    assert counted(form, steps) == {
        row: flipped for row in ("node compare", "figure did", "figure days_since_last")
    }


def test_membership_that_a_policy_keeps_is_no_verdict_of_the_node() -> None:
    definition = make_definition("s0", {"did": "A", "within": "1s"}, {"min_stay": "1h"})
    steps = [("event", Event("A", 1_000, "m1", {})), ("clock", 9_000)]
    columns = columns_of(SegmentSet([definition]), steps, watermark=True)
    assert columns["node", "did"] == {"cases", "true", "false", "by time"}


def test_hysteresis_and_references_are_counted() -> None:
    score = {"score": "recency_days", "enter": {"lt": 1}, "exit": {"gte": 2}}
    segments = [make_definition("s0", score), make_definition("s1", {"in_segment": "s0"})]
    coverage = Coverage()
    steps = [("event", Event("A", 1_000, "m1", {})), ("clock", 1_000 + 3 * 86_400_000)]
    coverage.add(SegmentSet(segments), steps, watermark=True)
    flipped = {"cases": 1, "true": 1, "false": 1, "by time": 1}
    rows = [("node", "score"), ("key", "enter"), ("operator", "gte"), ("node", "in_segment")]
    assert [dict(coverage.counts[row]) for row in rows] == [flipped] * 4


def test_rarest_goals_come_first_and_reached_ones_are_left_out() -> None:
    coverage = Coverage()
    for row in ROWS:
        coverage.counts[row].update({"cases": 90, "true": 9, "false": 9, "by time": 9})
    coverage.counts["node", "did"]["true"] = 4
    coverage.counts["node", "sum"]["by time"] = 2
    coverage.counts["node", "avg"]["cases"] = 80
    rare = [Goal(("node", "sum"), "by time"), Goal(("node", "did"), "true"), Goal(("node", "avg"), "cases")]
    assert coverage.rarest()[:3] == coverage.rarest(90) == rare
    assert set(coverage.rarest(10)) == set(GOALS)
    assert coverage.lacking(90) == ["node did: true, 4", "node sum: by time, 2", "node avg: cases, 80"]


def test_merged_counts_are_added() -> None:
    one, other = Coverage(), Coverage()
    one.counts["node", "did"]["true"], other.counts["node", "did"]["true"] = 2, 3
    one.merge(other)
    assert one.count(Goal(("node", "did"), "true")) == 5


def test_too_few_cases_of_a_node_fail_only_if_required(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--cases", "10", "--seconds", "600", "--seed", "1", "--processes", "1"]
    assert fuzz.main([*arguments, "--require", "21"]) == 1
    out = capsys.readouterr().out
    assert "TOO FEW: node in_segment: cases, " in out
    assert "TOO FEW: node bucket: by time" not in out, "time never changes a bucket"
    assert "never by time: the profile's id alone decides" in out


def test_exceptions_name_rows_of_the_table_and_give_a_reason() -> None:
    assert set(STILL) <= set(ROWS)
    assert all(STILL.values())


def test_every_row_has_a_source() -> None:
    assert [row for row in ROWS if not sources()[row]] == []


def test_a_focus_exists_for_every_operator() -> None:
    assert set(operands) == set(OPERATORS)


_NODE = {"did": "B", "where": {"p": {"gt": 7}, "context.os.name": "iOS"}, "within": "90s"}


@composite
def _steps(draw: Any) -> list[tuple[str, Any]]:
    return steps_about(draw, [_NODE])


def test_events_have_what_a_node_is_about_and_times_reach_its_edges() -> None:
    """No event of ``streams`` alone has such a value, and none passes the 90 seconds to the millisecond."""
    seen: set[str] = set()
    ends: set[int] = set()

    @seed(0)
    @evenly(60)
    @given(_steps())
    def draw(steps: list[tuple[str, Any]]) -> None:
        columns = columns_of(SegmentSet([make_definition("s0", _NODE)]), steps, watermark=True)
        seen.update(columns["node", "did"])
        times = [arg.time_ms for kind, arg in steps if kind == "event" and arg.name == "B"]
        ends.update(arg - time for time in times for kind, arg in steps if kind == "clock")

    draw()
    assert seen == {"cases", "true", "false", "by time"}
    assert {89_999, 90_000, 90_001} <= ends


@pytest.mark.parametrize(
    ("test", "values"),
    [
        (5, {4, 5, 5.1, 6}),
        ({"in": ["x", "y"]}, {"x", "y"}),
        ({"exists": False}, {None}),
        ({"starts_with": "x"}, {"xx"}),
        ({"as": "number", "eq": 1}, {"0", "1", "1.1", "2"}),
        ({"as": "epoch_ms", "after": "1970-01-01T00:00:09Z"}, {8_750, 8_999, 9_000, 9_001, 9_250}),
    ],
)
def test_values_are_near_thresholds(test: Any, values: set[Any]) -> None:
    found: set[Any] = set()

    @seed(0)
    @evenly(80)
    @given(st.data())
    def draw(data: st.DataObject) -> None:
        found.add(value_near(data.draw, test, 0))

    draw()
    assert found == values
