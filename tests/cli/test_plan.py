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
from segops.core.scans import Limits, Plan, PlannedProfile, SegmentPlan
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
        (["plan"], "expected a PATH, --retire or --discard"),
        (["plan", "draft.yaml", "--discard"], "--discard takes no PATH, --prune or --retire"),
        (["plan", "--discard", "--retire", "vip"], "--discard takes no PATH, --prune or --retire"),
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
    many = tuple(PlannedChange("x" * 64, "added", 1, reason="y" * 1_000) for _ in range(500))
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
