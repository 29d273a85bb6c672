"""What each tool answers: drafts with every mistake in its place, segments, forecasts, people."""

from __future__ import annotations

from typing import Any

import pytest

from segops.config import Settings
from segops.core.scans import Estimate, Forecast
from segops.core.scans.forecast import Flow, SegmentForecast
from segops.core.views.history import PastMembership
from segops.mcp import people, scans, segments
from segops.operations.segments import overview
from segops.schemas.scans import Scanned

from .helpers import USER, VIP, Assistant, assist, log_of, publish, settings_of

HOUR_MS, DAY_MS = 3_600_000, 86_400_000


@pytest.fixture(autouse=True)
def _published(monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, VIP, USER)


# -- drafts ----------------------------------------------------------------------------------------------


def test_a_sound_draft_is_explained_and_costed() -> None:
    async def steps(assistant: Assistant) -> None:
        rule = {"all": [{"in_segment": "vip"}, {"did_not": "page", "within": "7d"}]}
        found = await assistant.answer("check_draft", rule=rule)
        assert (found["valid"], found["errors"], found["warnings"]) == (True, [], [])
        assert found["words"] == ["all of", "  in segment vip", "  did not page within 1w"]
        assert found["refers_to"] == ["vip"]
        assert found["edits"] is None
        assert found["cost"]["leaves"] == 2 and found["cost"]["state_bytes"] > 0

    assist(steps)


@pytest.mark.parametrize(
    ("arguments", "path", "reason"),
    [
        ({"rule": {"did": "A", "within": "0h"}}, "rule.within", "expected a duration above 0"),
        ({"rule": {"all": [{"did": "A"}, {"dit": "B"}]}}, "rule.all[1]", "unknown node dit"),
        ({"rule": {"in_segment": "none"}}, "rule", "unknown segment"),
        ({"rule": {"in_segment": "near-vip"}, "key": "vip"}, "rule", "cycle"),
        ({"rule": {"near": "centre"}}, "rule.near", "centre"),
        ({"rule": {"near": "centre"}, "places": {"centre": {"lat": 99}}}, "places.centre", "lat"),
        ({"rule": {"score": "churn", "is": {"gte": 0.5}}}, "rule.score", "unknown score"),
        (
            {"rule": {"all": [{"trait": "a", "is": {"gt": 3}}, {"trait": "a", "is": {"lt": 2}}]}},
            "rule",
            "never",
        ),
    ],
)
def test_a_mistake_has_a_path_and_a_reason(arguments: dict[str, Any], path: str, reason: str) -> None:
    async def steps(assistant: Assistant) -> None:
        found = await assistant.answer("check_draft", **arguments)
        assert found["valid"] is False and "words" not in found
        assert any(each["path"].startswith(path) and reason in each["reason"] for each in found["errors"]), (
            found
        )

    assist(steps)


def test_every_mistake_is_listed_and_what_always_holds_is_a_warning() -> None:
    async def steps(assistant: Assistant) -> None:
        rule = {"all": [{"did": "A", "within": "0h"}, {"did": 5}, {"trait": "a", "is": {"like": 1}}]}
        found = await assistant.answer("check_draft", rule=rule)
        assert len(found["errors"]) == 3
        found = await assistant.answer("check_draft", rule={"did": "A", "count": {"gte": 0}}, key="vip")
        assert found["valid"] and found["edits"] == {"key": "vip", "version": 1}
        assert [each["path"] for each in found["warnings"]] == ["rule.count"]

    assist(steps)


def test_blocks_are_read_and_those_that_name_files_are_not() -> None:
    async def steps(assistant: Assistant) -> None:
        places = {"centre": {"lat": 48.8, "lon": 2.3, "radius": "2km"}}
        rule = {"all": [{"near": "centre"}, {"indicator": "spent", "is": {"gte": 5}}]}
        indicators = {"spent": {"sum": "total", "of": "Order Completed"}}
        found = await assistant.answer("check_draft", rule=rule, places=places, indicators=indicators)
        assert found["valid"], found["errors"]
        lookups = {"secrets": {"file": "/etc/passwd", "key": "id"}}
        assert "lookups: unknown key" in await assistant.refusal("check_draft", rule=rule, lookups=lookups)
        codes = {"file": "/etc/passwd"}
        assert "unknown key" in await assistant.refusal("check_draft", rule=rule, postal_codes=codes)

    assist(steps)


def test_a_rule_that_is_too_deep_is_refused() -> None:
    rule: dict[str, Any] = {"did": "A"}
    for _ in range(250):
        rule = {"not": rule}

    async def steps(assistant: Assistant) -> None:
        assert "nested more than" in await assistant.refusal("check_draft", rule=rule)

    assist(steps)


# -- segments --------------------------------------------------------------------------------------------


def test_segments_are_listed_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_of(VIP, USER)
    log.apply(b"gone", b'{"key":"gone","version":4,"retired":true}')

    async def measured(_settings: Settings) -> Any:
        return overview(log)

    monkeypatch.setattr(segments, "measured", measured)

    async def steps(assistant: Assistant) -> None:
        first = await assistant.answer("list_segments", limit=1)
        assert [each["key"] for each in first["segments"]] == ["near-vip"]
        assert (first["total"], first["next"]) == (2, "near-vip")
        second = await assistant.answer("list_segments", after="near-vip", limit=1)
        assert [(each["key"], each["used_by"]) for each in second["segments"]] == [("vip", ["near-vip"])]
        assert second["next"] is None
        every = await assistant.answer("list_segments", retired=True)
        assert [each["state"] for each in every["segments"]] == ["retired", "live", "live"]

    assist(steps)


def test_a_segment_is_read_as_written() -> None:
    async def steps(assistant: Assistant) -> None:
        found = await assistant.answer("read_segment", key="near-vip")
        assert found["rule"] == USER["when"]
        assert (found["version"], found["refers_to"], found["used_by"]) == (1, ["vip"], [])
        vip = await assistant.answer("read_segment", key="vip")
        assert (vip["name"], vip["used_by"]) == ("VIP", ["near-vip"])
        text = await assistant.refusal("read_segment", key="none")
        assert text == "unknown segment 'none'; list_segments lists all segments"

    assist(steps)


def test_a_segment_is_explained_in_words() -> None:
    async def steps(assistant: Assistant) -> None:
        found = await assistant.answer("explain_segment", key="vip")
        assert found["words"] == ["did Order Completed ≥ 3 within 30d"]
        assert found["cost"]["segment_key"] == "vip"

    assist(steps)


# -- scans -----------------------------------------------------------------------------------------------


def scanned(monkeypatch: pytest.MonkeyPatch, result: Any) -> list[Any]:
    """Answer scans with this result; return the list of the questions."""
    questions: list[Any] = []

    async def scan(_settings: Settings, question: Any, *, wait_s: float) -> Scanned:
        assert wait_s == 120
        questions.append(question)
        return Scanned(1, 2, 30, 0, result)

    monkeypatch.setattr(scans, "patient_scan", scan)
    return questions


@pytest.mark.parametrize(
    ("detail", "found"),
    [
        (
            "totals",
            {"next_24_hours": {"entered": 1, "left": 2}, "next_30_days": {"entered": 1, "left": 9}},
        ),
        ("hours", {"hours": [{"from_ms": 0, "entered": 1, "left": 2}]}),
        ("days", {"days": [{"from_ms": 0, "entered": 1, "left": 9}]}),
    ],
)
def test_a_forecast(monkeypatch: pytest.MonkeyPatch, detail: str, found: dict[str, Any]) -> None:
    one = SegmentForecast(7, {0: Flow(1, 2)}, {0: Flow(1, 9)})
    questions = scanned(monkeypatch, Forecast(0, HOUR_MS, 0, DAY_MS, {"vip": one}))

    async def steps(assistant: Assistant) -> None:
        answer = await assistant.answer("forecast_segments", keys=["vip", "vip"], detail=detail)
        assert answer["segments"] == [{"key": "vip", "members": 7, **found}]
        assert questions[0].segments == ("vip",)
        assert "unknown segment 'x'" in await assistant.refusal("forecast_segments", keys=["x"])
        assert "keys: " in await assistant.refusal("forecast_segments", keys=[])
        assert len(questions) == 1

    assist(steps)


def test_an_estimate_names_no_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    questions = scanned(monkeypatch, Estimate(0.5, 10, 4, 0, [], [], 0, []))

    async def steps(assistant: Assistant) -> None:
        found = await assistant.answer("estimate_segment", rule={"did": "A"}, sample=0.5)
        assert (found["key"], found["holds"], found["members"]["estimate"]) == ("assistants-draft", 4, 8)
        assert "samples" not in found
        assert (questions[0].samples, questions[0].share) == (0, 0.5)
        assert "rule.within: expected" in await assistant.refusal(
            "estimate_segment", rule={"did": "A", "within": "0h"}
        )
        assert "sample: " in await assistant.refusal("estimate_segment", rule={"did": "A"}, sample=0)
        assert len(questions) == 1

    assist(steps)


# -- people ----------------------------------------------------------------------------------------------


def test_members_are_listed_where_the_operator_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def members(_settings: Settings, key: str, at_ms: int | None) -> list[PastMembership]:
        assert (key, at_ms) == ("vip", None)
        return [PastMembership(name, "vip", 1, 5, "event", "m1", None) for name in ("user_id:b", "user_id:a")]

    monkeypatch.setattr(people, "members_at", members)

    async def steps(assistant: Assistant) -> None:
        first = await assistant.answer("list_members", key="vip", limit=1)
        assert [each["profile_id"] for each in first["members"]] == ["user_id:a"]
        assert (first["total"], first["next"]) == (2, "user_id:a")
        assert "unknown segment" in await assistant.refusal("list_members", key="none")
        assert "expected an identifier" in await assistant.refusal("read_timeline", identifier="ann")

    assist(steps, settings_of(personal_data=True))
