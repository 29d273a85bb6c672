"""The pages and actions of plans."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from segops import config
from segops.core.scans import Limits, Plan, PlannedProfile, SegmentPlan
from segops.operations import plans
from segops.operations.definitions import DefinitionChange
from segops.operations.plans import Effect
from segops.schemas.planned import PlannedChange, PlannedEdit
from segops.schemas.scans import Scanned
from segops.schemas.segments import definition_to_record, inline

from .activation_board import Board, full, segment
from .activation_fakes import HOSTILE
from .activation_store import post_as
from .helpers import NOW_MS, PROXY, Browser, MemoryAudit, as_user, serve

PLAN = "a1b2c3d4e5f6"
EDITED = {"key": "at-risk", "when": {"did_not": "Order Completed", "within": "30d"}}


@pytest.fixture
def board() -> Board:
    return full()


@pytest.fixture(autouse=True)
def planned(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an edit of a segment be planned."""
    for name, _, _ in config.variables():
        monkeypatch.delenv(name, raising=False)
    (edited,) = inline([EDITED], "edited.yaml", "segments")
    record = definition_to_record(msgspec.structs.replace(edited, version=2))
    change = PlannedChange("at-risk", "changed", 2, msgspec.Raw(record))
    board.planned = PlannedEdit(PLAN, NOW_MS, "b", (change,))


def test_list_has_the_open_plan_first_and_is_filtered(board: Board) -> None:
    async def steps(browser: Browser) -> None:
        found = (await browser.get("/plans.json")).json
        assert [(each["id"], each["state"]) for each in found["plans"]] == [
            (PLAN, "open"),
            ("0000aaaa1111", "applied"),
        ]
        assert (found["open"]["entering"], found["open"]["leaving"]) == (10_040, 189)
        applied = (await browser.get("/plans.json?state=applied")).json["plans"]
        assert [each["id"] for each in applied] == ["0000aaaa1111"]
        assert PLAN in (await browser.get("/plans")).text
        browser.clock.now_ms += 86_400_000
        assert (await browser.get(f"/plans/{PLAN}.json")).json["plan"]["state"] == "expired"

    serve(steps, board=board)


def test_plan_shows_exactly_what_it_moves_costs_and_edits(board: Board) -> None:
    async def steps(browser: Browser) -> None:
        found = (await browser.get(f"/plans/{PLAN}.json")).json
        assert {name: found["figures"][name] for name in ("entering", "leaving", "staying")} == {
            "entering": 10_040, "leaving": 189, "staying": 4_740,
        }  # fmt: skip
        at_risk, winback = found["segments"]
        assert min(each["state_bytes"] for each in (at_risk, winback)) > 0 and not at_risk["beyond"]
        assert winback["beyond"] == "9,920 changes, 55.2 % of 17,981 members"
        assert winback["href"] == "/audiences/winback-email"
        assert [(each["key"], each["entering"]) for each in found["audiences"]] == [("winback-email", 9_800)]
        (change,) = found["changes"]
        assert "-   within: 60d" in change["lines"] and "+   within: 30d" in change["lines"]
        page = (await browser.get(f"/plans/{PLAN}")).text
        assert "beyond the limits" in page and 'name="beyond"' in page and "within: 30d" in page
        assert (await browser.get("/plans/none")).status == 404

    serve(steps, board=board)


def test_plan_is_shown_while_workers_are_away(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: Any) -> Any:
        raise plans.UnknownEffect("no worker of segops is running")

    monkeypatch.setattr(plans, "effect_of", away)

    async def steps(browser: Browser) -> None:
        page = await browser.get(f"/plans/{PLAN}?samples=1")
        assert page.status == 200 and "no worker of segops is running" in page.text
        assert "10,040" in page.text

    serve(steps, board=board)


def test_samples_are_computed_when_asked_for_masked_and_audited(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def effect(*_: Any) -> Effect:
        of = {"entering": [PlannedProfile(1, "user_id:u1")]}
        moved = SegmentPlan(members=10, entering=1, samples=of)
        return Effect([], "b", frozenset(), [], Scanned(0, 0, 0, 0, Plan({"at-risk": moved})))

    monkeypatch.setattr(plans, "effect_of", effect)
    audit = MemoryAudit()

    async def steps(browser: Browser) -> None:
        path = f"/plans/{PLAN}?samples=1"
        viewer = await browser.get(path, **as_user("viewer"))
        assert viewer.status == 200 and "user_id:u1" not in viewer.text and "••••••" in viewer.text
        assert (await browser.get(f"/plans/{PLAN}.json", **as_user("editor"))).json["samples"] is None
        assert audit.entries == []
        assert "user_id:u1" in (await browser.get(path, **as_user("editor"))).text
        assert [each.action for each in audit.entries] == ["plan.samples"]

    serve(steps, board=board, audit=audit, **PROXY)


def test_plan_is_published_within_limits_unless_the_person_goes_beyond(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Mapping[str, Any]] = []

    async def publish(_: Any, decide: Any, **options: Any) -> list[DefinitionChange]:
        asked.append(options)
        if options["limits"] is not None:
            raise plans.TooMuch({"at-risk": "9,920 changes"}, options["limits"])
        return [DefinitionChange("at-risk", "changed", 2)]

    monkeypatch.setattr(plans, "publish", publish)

    async def steps(browser: Browser) -> None:
        path = f"/plans/{PLAN}/apply"
        refused = await browser.post(path, script=True)
        assert refused.status == 422 and "at-risk: 9,920 changes" in refused.json["error"]
        done = await browser.post(path, {"beyond": "on"}, script=True)
        assert done.json["data"]["changes"] == [{"key": "at-risk", "action": "changed", "version": 2}]

    serve(steps, board=board)
    assert [each["limits"] for each in asked] == [Limits(), None]
    assert {each["plan_id"] for each in asked} == {PLAN}


def test_only_this_plan_is_discarded(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    async def commit(_: Any, decide: Any) -> list[DefinitionChange]:
        changes, board.planned = decide(board.log)
        return list(changes)

    monkeypatch.setattr(plans, "commit", commit)
    monkeypatch.setattr(plans, "wall_ms", lambda: NOW_MS)

    async def steps(browser: Browser) -> None:
        other = await browser.post("/plans/0000aaaa1111/discard", script=True)
        assert other.status == 422 and f"the latest plan is {PLAN}, not 0000aaaa1111" in other.json["error"]
        assert board.planned is not None and board.planned.state == "open"
        assert (await browser.post(f"/plans/{PLAN}/discard", script=True)).status == 200
        assert board.planned.state == "discarded"

    serve(steps, board=board)


def test_viewers_may_neither_publish_nor_discard(board: Board) -> None:
    async def steps(browser: Browser) -> None:
        page = await browser.get(f"/plans/{PLAN}", **as_user("viewer"))
        assert "/apply" not in page.text and "takes the role editor" in page.text
        for action in ("apply", "discard"):
            assert (await post_as(browser, f"/plans/{PLAN}/{action}", {}, "viewer", "val")).status == 403

    serve(steps, board=board, **PROXY)


def test_hostile_keys_are_shown_as_texts(board: Board) -> None:
    board.plan("bad", [segment(HOSTILE, action=HOSTILE)], state="discarded")
    board.plan(HOSTILE, [], state="superseded", superseded_by=HOSTILE)

    async def steps(browser: Browser) -> None:
        for path in ("/plans", "/plans/bad"):
            text = (await browser.get(path)).text
            assert "<script>alert" not in text and "&lt;script&gt;alert" in text

    serve(steps, board=board)
