"""The records of the topic of plans: what a change of the latest plan writes, and what is left out of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from segops.core.scans import Plan, PlannedProfile, SegmentPlan
from segops.schemas.planned import VALID_MS, PlannedEdit
from segops.schemas.published_plans import (
    MAX_PLANS,
    MAX_SEGMENTS,
    PlanFigures,
    PublishedPlan,
    decode_plan,
    encode_plan,
    figures_of,
    updated_plans,
)
from segops.schemas.scan_views import Edited
from segops.schemas.scans import Scanned

MADE_MS = 1_000_000
NOW_MS = MADE_MS + 5
FIGURES = PlanFigures(1, 2, 3, 4, 5, [], 0)
FIRST = PlannedEdit("first", MADE_MS, "base", history=True)
SECOND = PlannedEdit("second", MADE_MS + 2, "base")
OPEN = PublishedPlan("first", "open", MADE_MS, MADE_MS + VALID_MS, "base", True, figures=FIGURES)


def updated(
    former: PlannedEdit | None,
    planned: PlannedEdit | None,
    known: Mapping[str, PublishedPlan] = {"first": OPEN},
    *,
    figures: PlanFigures | None = None,
    now_ms: int = NOW_MS,
) -> dict[str, PublishedPlan | None]:
    return updated_plans(known, former, planned, figures, now_ms=now_ms)


def test_new_plan_is_open_and_gets_its_figures_once_they_are_known() -> None:
    (made,) = updated(None, FIRST, {}).values()
    assert made == PublishedPlan("first", "open", MADE_MS, MADE_MS + VALID_MS, "base", True)
    (known,) = updated(FIRST, FIRST, {"first": made}, figures=FIGURES).values()
    assert known == OPEN
    assert updated(FIRST, FIRST) == {"first": OPEN}  # without new ones, it keeps what it has


@pytest.mark.parametrize("state", ["applied", "discarded", "superseded"])
def test_plan_ends_as_its_record_among_the_definitions_says(state: Any) -> None:
    (ended,) = updated(FIRST, FIRST.ended(state)).values()
    assert ended is not None
    assert (ended.state, ended.ended_ms, ended.superseded_by, ended.figures) == (state, NOW_MS, None, FIGURES)


def test_plan_whose_place_another_one_takes_is_superseded_by_it() -> None:
    first, second = updated(FIRST, SECOND, figures=None).values()
    assert first is not None and second is not None
    assert (first.state, first.superseded_by, first.ended_ms) == ("superseded", "second", NOW_MS)
    assert (second.id, second.state, second.history) == ("second", "open", False)


@pytest.mark.parametrize("planned", [FIRST.ended("superseded"), FIRST.ended("applied"), SECOND])
def test_plan_that_expired_before_is_expired(planned: PlannedEdit) -> None:
    ended = updated(FIRST, planned, now_ms=OPEN.expires_ms)["first"]
    assert ended is not None
    assert (ended.state, ended.ended_ms, ended.superseded_by) == ("expired", OPEN.expires_ms, None)


def test_open_plan_is_read_as_expired_from_the_end_of_its_time_on() -> None:
    assert OPEN.as_of(OPEN.expires_ms - 1) is OPEN
    assert OPEN.as_of(OPEN.expires_ms).state == "expired"
    (applied,) = updated(FIRST, FIRST.ended("applied")).values()
    assert applied is not None and applied.as_of(OPEN.expires_ms) is applied


@pytest.mark.parametrize(
    ("former", "planned"),
    [(None, None), (FIRST, None), (FIRST.ended("applied"), FIRST.ended("applied"))],
)
def test_nothing_is_written_unless_a_plan_begins_or_ends(
    former: PlannedEdit | None, planned: PlannedEdit | None
) -> None:
    assert updated(former, planned) == {}


def test_plan_of_an_earlier_version_ends_without_figures() -> None:
    (ended,) = updated(FIRST, FIRST.ended("applied"), {}).values()
    assert ended is not None
    assert (ended.state, ended.base, ended.figures) == ("applied", "base", None)


def test_record_beyond_the_most_that_are_kept_is_deleted() -> None:
    known = {
        str(n): PublishedPlan(str(n), "discarded", n, n + VALID_MS, "", False, n) for n in range(MAX_PLANS)
    }
    # The clock of the machine that made the new plan is behind: it is kept all the same.
    assert updated(None, PlannedEdit("new", -1), known) == {
        "new": PublishedPlan("new", "open", -1, VALID_MS - 1, "", False),
        "0": None,
    }
    del known["5"]
    assert set(updated(None, PlannedEdit("new", -1), known)) == {"new"}


def test_figures_are_of_the_segments_that_move_most_and_name_no_profile() -> None:
    segments = {f"s{n}": SegmentPlan(members=n, leaving=n) for n in range(MAX_SEGMENTS + 3)}
    samples = {"leaving": [PlannedProfile(1, "user_id:ann")]}
    segments["s9"] = SegmentPlan(9, 9_000, 1, 2, 3, 4, ["count of A"], complete_since_ms=7, samples=samples)
    edited = {key: Edited("changed", 2) for key in segments}
    found = figures_of(Scanned(10, 20, 30, 40, Plan(segments, cut=6)), edited)
    assert (found.from_ms, found.to_ms, found.profiles, found.unreadable, found.cut) == (10, 20, 30, 40, 6)
    assert (len(found.segments), found.left_out) == (MAX_SEGMENTS, 3)
    first, second = found.segments[:2]
    assert (first.segment_key, first.action, first.version, first.then) == ("s9", "changed", 2, 9_008)
    assert (first.staying, first.entering_24h, first.leaving_24h, first.failed) == (8, 2, 3, 4)
    assert (first.complete_since_ms, second.complete_since_ms) == (7, None)
    assert second.segment_key == f"s{MAX_SEGMENTS + 2}"
    value = encode_plan(PublishedPlan("p", "open", 1, 2, "b", False, figures=found))
    assert value is not None and b"ann" not in value and len(value) < 250_000
    assert decode_plan(value).figures == found
    assert encode_plan(None) is None
