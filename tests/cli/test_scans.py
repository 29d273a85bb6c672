"""The commands that scan: what they refuse before they ask a broker, and how they print results."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from segops.cli import _progress, _scans
from segops.core.scans import (
    Estimate,
    Flow,
    Forecast,
    LeafValues,
    NearProfile,
    NodeCount,
    Overlap,
    SampledProfile,
    SegmentForecast,
)
from segops.core.segments import Definition, SegmentSet
from segops.core.views.explain import explain
from segops.kafka.definitions import DefinitionLog
from segops.operations.scans import Progress
from segops.schemas.scans import EstimateRequest, ForecastRequest, OverlapRequest, Question, Scanned
from segops.schemas.segments import inline
from segops.testing import Customer
from tests.conftest import NOWHERE
from tests.core.helpers import MONDAY, D, H

Run = Callable[..., Any]

LIVE = inline(
    [{"key": "vip", "when": {"did": "A"}}, {"key": "lapsed", "when": {"did_not": "A"}}], "live", "segments"
)
DRAFT = "version: 1\nsegments:\n- {key: draft, when: {all: [{in_segment: vip}, {did: B}]}}\n"
TWO = DRAFT + "- {key: other, when: {did: B}}\n"
CUSTOMER = Customer(draft={"did": "A"})
CUSTOMER.did("A", MONDAY)
EXPLANATION = explain(SegmentSet(CUSTOMER.engine.segments.definitions), CUSTOMER.profile, MONDAY).segments[0]
RESULTS: dict[type, Any] = {
    ForecastRequest: Forecast(
        MONDAY,
        MONDAY + 25 * H,
        MONDAY,
        MONDAY + 31 * D,
        {
            "lapsed": SegmentForecast(1_500, {MONDAY + H: Flow(7, 0)}, {MONDAY: Flow(7, 0)}),
            "vip": SegmentForecast(20, {}, {MONDAY + 2 * D: Flow(3, 5)}),
        },
        cut=2,
    ),
    OverlapRequest: Overlap(["vip", "lapsed"], {1: 30, 2: 4_000, 3: 2}),
    EstimateRequest: Estimate(
        0.01,
        120,
        12,
        1,
        ["count of B"],
        [NodeCount("all of", 0, 12, 12), NodeCount("did B", 1, 40, 12)],
        1,
        [SampledProfile(5, "user_id:u1", EXPLANATION)],
        1,
        [NearProfile(1, 6, "user_id:u2", EXPLANATION)],
        [NearProfile(2, 7, "user_id:u3", EXPLANATION)],
        [LeafValues(1, [(5, 3.0), (6, 2.0)])],
    ),
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Question]:
    """Answer questions without Kafka, and return the list of those that were asked."""
    questions: list[Question] = []

    def answer(
        question: Callable[[DefinitionLog], Question], *, wait_s: float, drafts: Iterable[Definition] = ()
    ) -> tuple[Question, Scanned]:
        log = DefinitionLog()
        log.live = {each.key: each for each in LIVE}
        questions.append(question(log))
        result = RESULTS[type(questions[-1])]
        return questions[-1], Scanned(MONDAY, MONDAY + 1_000, 9_000, 3, result)

    for name in ("forecast", "overlap", "estimate"):
        monkeypatch.setattr(f"segops.cli.{name}.scan_for", answer)
    (tmp_path / "draft.yaml").write_text(DRAFT)
    (tmp_path / "two.yaml").write_text(TWO)
    monkeypatch.chdir(tmp_path)
    return questions


def table(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_forecast_sums_hours_and_days(segops: Run, asked: list[Question]) -> None:
    done = segops("forecast")
    assert (done.status, asked) == (0, [ForecastRequest()])
    _, lapsed, vip, *notes = table(done.out)
    assert lapsed == ["lapsed", "1,500", "7", "0", "7", "0", "1,507"]
    assert vip == ["vip", "20", "0", "0", "3", "5", "18"]
    assert "until 2025-10-14T01:00:00.000Z" in done.out and "until 2025-11-13T00:00:00.000Z" in done.out
    assert "3 profiles cannot be read" in done.out
    assert "warning: 2 profiles change at more than 1,000 instants" in done.err
    assert notes[0][:5] == ["each", "profile", "as", "of", "its"]


@pytest.mark.parametrize(("option", "rows"), [("--hours", 25), ("--days", 31)])
def test_forecast_shows_each_hour_or_day(segops: Run, asked: list[Question], option: str, rows: int) -> None:
    done = segops("forecast", "vip", option)
    assert asked == [ForecastRequest(("vip",))]
    lines = [line for line in table(done.out) if line[0] == "vip"]
    assert len(lines) == rows
    assert lines[2][1] == ("2025-10-13T02:00:00.000Z" if option == "--hours" else "2025-10-15T00:00:00.000Z")
    assert lines[2][2:] == (["0", "0", "20"] if option == "--hours" else ["3", "5", "18"])


def test_overlap_shows_a_matrix_and_each_combination(segops: Run, asked: list[Question]) -> None:
    done = segops("overlap", "vip", "lapsed")
    assert asked == [OverlapRequest(("vip", "lapsed"))]
    _, vip, lapsed, *notes = table(done.out)
    assert (vip, lapsed) == (["vip", "32", "2"], ["lapsed", "4,002", "2"])
    assert "in all of them: 2; in any of them: 4,032" in done.out
    assert "only in vip: 30" in done.out and "only in vip, lapsed: 2" in done.out
    assert notes


def test_estimate_shows_the_interval_the_funnel_and_examples(segops: Run, asked: list[Question]) -> None:
    done = segops("estimate", "draft.yaml", "--sample", "1%", "--funnel", "--samples", "1")
    (question,) = asked
    assert isinstance(question, EstimateRequest)
    assert (question.segment, question.share, question.samples, question.funnel) == ("draft", 0.01, 1, True)
    assert done.out.startswith(
        "draft: about 1,200 (688 to 2,092) of about 12,000 (10,045 to 14,335) profiles\n"
    )
    assert "from a sample of 1 %: 12 of 120 profiles" in done.out
    assert "warning: not stored in profiles yet, or not in full: count of B" in done.err
    assert "warning: the rule fails for 1 profiles" in done.err
    assert ["did", "B", "40", "12"] in table(done.out)
    assert "user_id:u1" in done.out and "✓ draft, version 1" in done.out


def test_estimate_shows_profiles_that_are_just_in_and_just_out(segops: Run, asked: list[Question]) -> None:
    done = segops("estimate", "draft.yaml", "--near", "1")
    (question,) = asked
    assert isinstance(question, EstimateRequest) and question.near == 1
    assert "user_id:u2, just in: 1 node away" in done.out
    assert "user_id:u3, just out: 2 nodes away" in done.out
    found = json.loads(segops("estimate", "draft.yaml", "--near", "1", "--format", "json").out)
    assert found["values"] == {"1": [2.0, 3.0]}


@pytest.mark.parametrize("words", [["forecast"], ["overlap", "vip", "lapsed"], ["estimate", "draft.yaml"]])
def test_json_holds_everything(segops: Run, asked: list[Question], words: list[str]) -> None:
    found = json.loads(segops(*words, "--format", "json").out)
    assert (found["from_ms"], found["to_ms"], found["unreadable"]) == (MONDAY, MONDAY + 1_000, 3)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["forecast", "nobody", "vip"], "unknown segment 'nobody'; `segops segments` lists all segments"),
        (["forecast", "--hours", "--days"], "--hours and --days exclude each other"),
        (["overlap", "vip"], "expected 2 to 10 segments, got 1"),
        (["overlap", *"abcdefghijk"], "expected 2 to 10 segments, got 11"),
        (["overlap", "vip", "vip"], "expected different segments, got one of them twice"),
        (["overlap", "vip", "nobody"], "unknown segment 'nobody'"),
        (["estimate", "two.yaml"], "two.yaml has 2 segments: choose one with --segment: draft, other"),
        (["estimate", "two.yaml", "--segment", "x"], "unknown segment 'x'; two.yaml has: draft, other"),
        (
            ["estimate", "draft.yaml", "--sample", "0%"],
            "expected a percentage above 0% and up to 100%, got '0%'",
        ),
        (["estimate", "draft.yaml", "--sample", "half"], "got 'half'"),
        (["estimate", "draft.yaml", "--sample", "nan"], "got 'nan'"),
        (["estimate", "draft.yaml", "--samples", "101"], "101"),
    ],
)
def test_mistakes_are_named(segops: Run, asked: list[Question], words: list[str], text: str) -> None:
    done = segops(*words)
    assert (done.status, done.out, asked) == (2, "", [])
    assert text in done.err


def test_references_of_a_draft_are_checked(segops: Run, asked: list[Question], tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(DRAFT.replace("vip", "nowhere"))
    done = segops("estimate", "bad.yaml")
    assert (done.status, asked) == (2, [])
    assert done.err == "bad.yaml: draft.when: in_segment: unknown segment nowhere\n"


def test_progress_is_reported_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_progress, "_REPORT_EVERY_S", -1.0)
    with _scans.reporting() as report:
        report(Progress(1, 8, 12_000, {}))
    assert capsys.readouterr().err == "1 of 8 partitions, 12,000 profiles visited\n"


def test_progress_of_history_is_per_partition_with_the_time_that_is_left() -> None:
    text = _scans._Text()
    none = "history: 0 of 0 records read (partition 0: 0 %)"
    assert text.of(Progress(0, 2, 0, {0: (0, 0)}), 5.0) == none
    first = "history: 100 of 1,000 records read (partition 0: 20 %, 1: 0 %)"
    assert text.of(Progress(0, 2, 0, {1: (0, 500), 0: (100, 500)}), 10.0).startswith(first)
    later = "history: 400 of 1,000 records read (partition 0: 80 %, 1: 0 %), about 15 s left"
    assert text.of(Progress(0, 2, 0, {0: (400, 500), 1: (0, 500)}), 15.0) == later
    assert text.of(Progress(1, 2, 7, {}), 20.0) == "1 of 2 partitions, 7 profiles visited"


def test_no_broker_is_an_error(segops: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGOPS_KAFKA_BOOTSTRAP_SERVERS", NOWHERE)
    done = segops("forecast")
    assert done.status in (1, 2) and "cannot reach a Kafka broker" in done.err
