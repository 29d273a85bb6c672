"""``segops plan`` and the limits of ``apply``: what they refuse before they ask a broker, how they print."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from segops.cli import apply
from segops.cli import plan as plan_command
from segops.cli._plan_watch import Repeats
from segops.cli._say import say_blocks
from segops.core.scans import Flapping, Limits, Plan, PlannedProfile, SegmentFlapping, SegmentPlan
from segops.kafka.definitions import DefinitionLog
from segops.operations.definitions import DefinitionChange, _ended
from segops.operations.plans import Effect, Recorded, TooMuch
from segops.schemas.planned import (
    MAX_PLAN_BYTES,
    PLAN_KEY,
    PlannedChange,
    PlannedEdit,
    decode_planned,
    encode_planned,
)
from segops.schemas.published_plans import PlanFigures, PlannedSegment, PublishedPlan
from segops.schemas.scan_views import Edited, RepeatView, view_flapping, view_plan
from segops.schemas.scans import Scanned
from segops.schemas.segments import definition_to_record, inline
from tests.core.helpers import MONDAY

Run = Callable[..., Any]

FORMS = [{"key": "vip", "when": {"did": "A", "within": "7d"}}, {"key": "fan", "when": {"in_segment": "vip"}}]
FORMS += [{"key": "late", "when": {"did": "B"}}]
PLAN = Plan(
    {
        "fan": SegmentPlan(members=2_000, entering=0, leaving=500),
        "gone": SegmentPlan(members=7, leaving=7),
        "late": SegmentPlan(members=9, lacking=["count of B"], complete_since_ms=MONDAY),
        "vip": SegmentPlan(
            members=3_000,
            entering=10,
            leaving=20,
            entering_later=3,
            leaving_later=4,
            failed=1,
            samples={"entering": [PlannedProfile(1, "user_id:u1"), PlannedProfile(2, "user_id:u2")]},
        ),
    },
    cut=6,
)
CHANGES = [
    DefinitionChange("vip", "changed", 2, b"{}"),
    DefinitionChange("gone", "retired", 1, b"{}"),
    DefinitionChange("late", "changed", 4, b"{}", waits=True),
    DefinitionChange("other", "described", 3, b"{}"),
    DefinitionChange("same", "unchanged", 1),
]


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let `plan` print a plan without Kafka."""
    scanned = Scanned(MONDAY, MONDAY + 1_000, 9_000, 3, PLAN)
    effect = Effect(CHANGES, "base", frozenset(), inline(FORMS, "test", "segments"), scanned)
    planned = PlannedEdit("0123456789ab", MONDAY)
    monkeypatch.setattr(plan_command, "run", lambda _work: (effect, Recorded(planned, "former")))
    (tmp_path / "draft.yaml").write_text("version: 1\nsegments: [{key: vip, when: {did: A}}]\n")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("known")
def test_plan_is_a_table_with_notes_and_the_line_to_apply_it(segops: Run) -> None:
    done = segops("plan", "draft.yaml")
    assert done.status == 0
    _, fan, gone, late, vip, *_ = [line.split() for line in done.out.splitlines()]
    assert fan[:9] == ["fan", "1", "2,000", "1,500", "0", "500", "1,500", "0", "0"] and fan[-1] == "follows"
    assert late[:5] == ["late", "4", "9", "9", "0"] and late[-1] == "changed"
    assert "late counts the past: count of B" in done.out.splitlines()
    assert gone == ["gone", "1", "7", "0", "0", "7", "0", "0", "0", "0", "retired"]
    assert vip[:9] == ["vip", "2", "3,000", "2,990", "10", "20", "2,980", "3", "4"] and vip[-1] == "changed"
    assert int(vip[9].replace(",", "")) > 0
    lines = done.out.splitlines()
    assert "vip, entering: user_id:u1, user_id:u2" in lines
    assert "each profile as of its turn from 2025-10-13T00:00:00.000Z to 2025-10-13T00:00:01.000Z" in lines
    assert lines[-3:] == [
        "plan 0123456789ab, valid until 2025-10-14T00:00:00.000Z",
        "it takes the place of the plan former",
        "to publish it: segops apply --plan 0123456789ab --yes",
    ]
    assert "only described: other" in lines
    for warning in (
        "fan moves more than the limits allow: 500 changes, 25.0 % of 2,000 members",
        "late looks back further than the events that are retained: since 2025-10-13T00:00:00.000Z",
        "vip: the rule fails for 1 profiles; their membership stays",
        "6 profiles change at more than 1,000 instants in 24 h; later ones are not counted",
    ):
        assert f"warning: {warning}\n" in done.err


@pytest.mark.usefixtures("known")
def test_plan_within_the_limits_needs_no_confirmation(segops: Run) -> None:
    done = segops("plan", "draft.yaml", "--max-share", "50%", "--max-changes", "500")
    assert done.out.endswith("to publish it: segops apply --plan 0123456789ab\n")
    assert "limits" not in done.err
    assert "--yes" in segops("plan", "draft.yaml", "--max-share", "50%", "--max-changes", "499").out


@pytest.mark.usefixtures("known")
def test_plan_as_json_holds_everything(segops: Run) -> None:
    found = json.loads(segops("plan", "draft.yaml", "--format", "json").out)
    assert (found["id"], found["replaced"], found["from_ms"]) == ("0123456789ab", "former", MONDAY)
    assert (found["profiles"], found["unreadable"], found["cut"]) == (9_000, 3, 6)
    fan, gone, late, vip = found["segments"]
    assert (late["lacking"], fan["lacking"]) == (["count of B"], [])
    assert (late["complete_since_ms"], fan["complete_since_ms"]) == (MONDAY, None)
    assert (fan["action"], gone["action"], vip["action"]) == ("follows", "retired", "changed")
    assert (fan["beyond"], gone["beyond"]) == ("500 changes, 25.0 % of 2,000 members", None)
    assert vip["samples"] == {"entering": ["user_id:u1", "user_id:u2"]}
    assert (vip["staying"], vip["entering_24h"], vip["leaving_24h"]) == (2_980, 3, 4)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["plan"], "expected a PATH, --retire, --discard or --list"),
        (["plan", "draft.yaml", "--discard"], "--discard takes no PATH, --prune, --retire"),
        (["plan", "--discard", "--retire", "vip"], "--discard takes no PATH, --prune, --retire"),
        (["plan", "--discard", "--list"], "--discard takes no PATH, --prune, --retire, --watch or another"),
        (["plan", "--list", "--watch"], "--list takes no PATH, --prune, --retire, --watch or another action"),
        (["plan", "draft.yaml", "--watch", "--interval", "0"], "0"),
        (
            ["plan", "draft.yaml", "--max-share", "0%"],
            "expected a percentage above 0% and up to 100%, got '0%'",
        ),
        (["plan", "draft.yaml", "--max-changes", "-1"], "-1"),
        (["plan", "draft.yaml", "--samples", "101"], "101"),
        (["apply"], "expected a PATH, --retire or --plan"),
        (["apply", "--plan", "x", "draft.yaml"], "--plan takes no PATH, --prune or --retire"),
        (["apply", "--plan", "x", "--prune"], "--plan takes no PATH, --prune or --retire"),
    ],
)
@pytest.mark.usefixtures("known")
def test_mistakes_are_named(segops: Run, words: list[str], text: str) -> None:
    done = segops(*words)
    assert (done.status, done.out) == (2, "")
    assert text in done.err


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    ("options", "limits"),
    [
        ([], Limits()),
        (["--max-changes", "7", "--max-share", "50%"], Limits(7, 0.5)),
        (["--yes"], None),
    ],
)
def test_apply_passes_its_limits_on(
    segops: Run, monkeypatch: pytest.MonkeyPatch, options: list[str], limits: Limits | None
) -> None:
    found: list[Any] = []

    def publish(_decide: object, allowed: Limits | None, **_: object) -> list[DefinitionChange]:
        found.append(allowed)
        return []

    monkeypatch.setattr(apply, "_publish", publish)
    assert segops("apply", "draft.yaml", *options).status == 0
    assert found == [limits]


# -- watches, lists, nothing to change ----------------------------------------------------------------------


def repeat(number: int, followed: Flapping | None, *, cut: int = 0) -> RepeatView:
    """Return a repeat of ``PLAN``."""
    scanned = Scanned(MONDAY, MONDAY + 1_000, 9_000, 0, msgspec.structs.replace(PLAN, cut=cut))
    planned = PlannedEdit("0123456789ab", MONDAY)
    edited = {key: Edited("changed", 2) for key in PLAN.segments}
    view = view_plan(planned, scanned, edited, {}, replaced=None)
    return RepeatView(number, view, None if followed is None else view_flapping(followed))


def flapping(repeats: int) -> Flapping:
    return Flapping(
        0.01,
        600,
        repeats,
        MONDAY,
        {"vip": SegmentFlapping(50, 9, 2, 5), "late": SegmentFlapping(), "fan": SegmentFlapping(1, 1, 0, 1)},
    )


def printed(views: list[RepeatView], capsys: pytest.CaptureFixture[str], *, json: bool = False) -> Any:
    repeats = Repeats(None, json=json)
    for view in views:
        repeats.show(view)
    return capsys.readouterr()


def test_each_segment_of_a_repeat_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    done = printed([repeat(1, None), repeat(2, flapping(1)), repeat(3, flapping(2))], capsys)
    lines = done.out.splitlines()
    assert len(lines) == 12
    at = "2025-10-13T00:00:01.000Z"
    vip = f"{at}  vip  3,000 members, then 2,990: +10 -20, +3 -4 in 24 h"
    assert lines[3] == vip
    flaps = "2 of 50 members in the sample (4.0%), 5 changes of one at most"
    assert lines[7] == lines[11] == f"{vip}  flapping: about 200 (55 to 725), {flaps}"
    assert lines[6].endswith(
        "flapping: about 0 (0 to 380), 0 of 0 members in the sample, 0 changes of one at most"
    )
    assert lines[5] == f"{at}  gone  7 members, then 0: +0 -7, +0 -0 in 24 h"
    assert done.err.count("to publish it: segops apply --plan 0123456789ab\n") == 1
    assert done.err.count("vip: the rule fails for 1 profiles") == 1


def test_partitions_that_follow_their_profiles_anew_are_named_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    views = [repeat(number, flapping(repeats)) for number, repeats in ((4, 3), (5, 1), (6, 2))]
    warning = "warning: partitions that changed their worker follow their profiles for 1 repeats only"
    assert [line for line in printed(views, capsys).err.splitlines() if "partitions" in line] == [warning]


def test_repeat_as_json_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = printed([repeat(1, None), repeat(2, flapping(1))], capsys, json=True).out.splitlines()
    assert json.loads(first)["followed"] is None
    found = json.loads(second)
    assert (found["repeat"], found["plan"]["id"]) == (2, "0123456789ab")
    assert found["followed"]["segments"][0] == {
        "segment_key": "vip",
        "members": 50,
        "changes": 9,
        "flapping": 2,
        "most": 5,
        "estimate": {"estimate": 200, "low": 55, "high": 725},
        "share": 0.04,
    }


def test_frame_has_the_figures_and_says_what_they_are_estimated_from(
    capsys: pytest.CaptureFixture[str],
) -> None:
    frames: list[list[str]] = []

    def redraw(blocks: Any) -> None:
        say_blocks(blocks)
        frames.append(capsys.readouterr().out.splitlines())

    repeats = Repeats(redraw, json=False)
    for view in (repeat(1, None), repeat(2, None), repeat(9, flapping(8), cut=3), repeat(10, flapping(2))):
        repeats.show(view)
    first, earlier, known, moved = frames
    assert first[0] == "repeat 1" and "flapping: from the next repeat on" in first
    assert "flapping: a worker of an earlier version runs" in earlier
    (vip,) = (line for line in known if line.startswith("vip "))
    assert vip.split()[-7:] == ["about", "200", "(55", "to", "725)", "4.0%", "5"]
    (gone,) = (line for line in known if line.startswith("gone "))
    assert gone.split()[-3:] == ["–", "–", "–"]
    assert "estimated from 600 profiles, 1% of all, with the 95 % confidence interval" in known
    assert (
        "warning: 3 profiles change at more than 1,000 instants in 24 h; later ones are not counted" in known
    )
    assert known[-1] == "to publish it: segops apply --plan 0123456789ab"
    restarted = "partitions that changed their worker follow their profiles for 2 repeats only"
    assert restarted in moved and restarted not in known


@pytest.mark.usefixtures("known")
def test_edit_that_changes_nothing_is_said_and_not_recorded(
    segops: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = Effect(CHANGES[-1:], "base", frozenset(), [], Scanned(0, 0, 0, 0, Plan({})))
    monkeypatch.setattr(plan_command, "run", lambda _work: (nothing, None))
    text = "nothing to change: the segments are published as they are; no plan was recorded\n"
    assert segops("plan", "draft.yaml").out == text
    found = json.loads(segops("plan", "draft.yaml", "--format", "json").out)
    assert (found["id"], found["expires_ms"], found["segments"]) == (None, None, [])


def test_list_of_plans(segops: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = PlannedSegment("vip", "changed", 2, 9, 10, 4, 3, 6, 0, 0, 0, None)
    figures = PlanFigures(MONDAY, MONDAY + 1, 7, 0, 0, [moved, moved], 0)
    plans = [
        PublishedPlan("new", "open", MONDAY, MONDAY + 9, "b", True),
        PublishedPlan("old", "superseded", MONDAY, MONDAY + 9, "b", False, MONDAY + 2, "new", figures),
        PublishedPlan(
            "vast", "applied", MONDAY, MONDAY + 9, "b", False, MONDAY + 2, None,
            msgspec.structs.replace(figures, left_out=1_000),
        ),
    ]  # fmt: skip
    monkeypatch.setattr(plan_command, "run", lambda _work: plans)
    _, new, old, vast = [line.split() for line in segops("plan", "--list").out.splitlines()]
    made = "2025-10-13T00:00:00.000Z"
    assert new == ["new", made, "open", "–", "–", "–", "–", "–"]
    ended, at = "2025-10-13T00:00:00.002Z", "2025-10-13T00:00:00.001Z"
    assert old == ["old", made, "superseded", "by", "new", ended, at, "2", "8", "6"]
    assert vast == ["vast", made, "applied", ended, at, "1,002", "≥", "8", "≥", "6"]
    found = json.loads(segops("plan", "--list", "--format", "json").out)
    assert [each["id"] for each in found] == ["new", "old", "vast"]
    assert found[1]["figures"]["segments"][0]["segment_key"] == "vip"
    monkeypatch.setattr(plan_command, "run", lambda _work: [])
    assert segops("plan", "--list").out == "no plans yet\n"


def test_limits_are_part_of_the_error() -> None:
    error = TooMuch({"vip": "7 changes"}, Limits(5, 0.125))
    assert str(error).splitlines() == [
        "nothing was published: it would move more than 5 changes or 12.5 % of a segment",
        "  vip: 7 changes",
        "raise --max-changes or --max-share, or repeat with --yes",
    ]


def test_recorded_plan_is_bounded_and_read_back() -> None:
    planned = PlannedEdit("id", 5, "base", (PlannedChange("vip", "added", 1),))
    assert decode_planned(encode_planned(planned)) == planned
    assert decode_planned(None) is None
    with pytest.raises(ValueError, match="invalid plan"):
        decode_planned(b"{}")
    many = tuple(PlannedChange("x" * 64, "added", 1, reason="y" * 1_000) for _ in range(1_000))
    with pytest.raises(ValueError, match=f"more than {MAX_PLAN_BYTES:,}"):
        encode_planned(PlannedEdit("id", 5, "base", many))


@pytest.mark.parametrize(
    ("state", "published", "expected"),
    [
        ("open", {b"vip": b"{}"}, "applied"),
        ("open", {b"vip": b'{"x":1}'}, "superseded"),
        ("open", {b"vip": b"{}", b"fan": b"{}"}, "superseded"),
        ("open", {}, None),
        ("discarded", {b"vip": b"{}"}, None),
    ],
)
def test_publication_ends_an_open_plan(
    state: Any, published: dict[bytes, bytes], expected: str | None
) -> None:
    changes = (PlannedChange("vip", "added", 1, msgspec.Raw(b"{}")), PlannedChange("old", "unchanged", 1))
    ended = _ended(PlannedEdit("id", 5, "base", changes, state, history=True), published)
    assert (ended and (ended.state, ended.changes, ended.history)) == (expected and (expected, (), False))
    assert _ended(None, published) is None


def test_open_plan_that_needs_history_is_announced_with_the_definitions_after_it() -> None:
    (vip,) = inline(FORMS[:1], "test", "segments")
    record = msgspec.Raw(definition_to_record(vip))
    planned = PlannedEdit("id", 5, "base", (PlannedChange(vip.key, "added", 1, record),), history=True)
    log = DefinitionLog()
    assert log.published() == ([], None, ())
    assert log.apply(PLAN_KEY, encode_planned(planned))
    found = log.published()
    assert (found.definitions, found.planned) == ([], planned)
    assert [each.key for each in found.draft] == [vip.key] and log.live == {}
    assert log.apply(PLAN_KEY, encode_planned(planned.ended("discarded")))
    assert log.published() == ([], None, ())
    assert not log.apply(PLAN_KEY, encode_planned(PlannedEdit("next", 6)))
