"""Members, forecast, overlap and funnel of a segment; pausing, resuming and retiring it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from segops.console.drafts.checking import fingerprint
from segops.console.pages import segment_actions, segment_details
from segops.core.errors import SegopsError
from segops.core.scans import Estimate, Flow, Forecast, NodeCount, Overlap, SegmentForecast
from segops.core.views.history import PastMembership
from segops.kafka.definitions import DefinitionLog
from segops.schemas.scans import EstimateRequest, ForecastRequest, OverlapRequest, Scanned

from .board import FilledBoard, full
from .helpers import NOW_MS, Browser, entries_of, serve

PROXY = {"trusted_proxies": "127.0.0.1", "proxy_user_header": "X-User", "proxy_role_header": "X-Role"}
HOUR_MS, DAY_MS = 3_600_000, 86_400_000


# -- scans -------------------------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Let scans be answered in memory; return their questions."""
    found: list[Any] = []

    async def scan(_settings: Any, question: Any, *, wait_s: float) -> Scanned:
        found.append(question)
        return Scanned(NOW_MS, NOW_MS, 100, 0, RESULTS[type(question)])

    monkeypatch.setattr(segment_details, "patient_scan", scan)
    return found


_HOURS = NOW_MS // HOUR_MS * HOUR_MS
_DAYS = NOW_MS // DAY_MS * DAY_MS
RESULTS: dict[type, Any] = {
    ForecastRequest: Forecast(
        _HOURS,
        _HOURS + 25 * HOUR_MS,
        _DAYS,
        _DAYS + 31 * DAY_MS,
        {
            "high-intent": SegmentForecast(
                1_000, {_HOURS: Flow(5, 12)}, {_DAYS: Flow(5, 12), _DAYS + DAY_MS: Flow(0, 100)}
            )
        },
        0,
    ),
    OverlapRequest: Overlap(["high-intent", "vip"], {1: 700, 2: 301, 3: 300}),
    EstimateRequest: Estimate(
        1.0,
        41_250,
        1_000,
        0,
        [],
        [NodeCount("all of", 0, 1_000, 1_000), NodeCount("did A", 1, 1_400, 1_400)],
        0,
        [],
    ),
}


def details(board: FilledBoard, *paths: str) -> list[Any]:
    found: list[Any] = []

    async def steps(browser: Browser) -> None:
        await board.tick()
        for path in paths:
            found.append((await browser.get(f"/segments/high-intent/{path}")).json)

    serve(steps, board=board)
    return found


def test_a_forecast_adds_up_and_is_asked_once_a_minute(asked: list[Any]) -> None:
    one, two = details(full(), "forecast.json", "forecast.json")
    assert (one["members"], one["in_24h"], one["in_30d"]) == (1_000, 993, 893)
    assert (len(one["hours"]), len(one["days"]), one["missing"]) == (25, 31, "")
    assert one == two and asked == [ForecastRequest(("high-intent",))]


def test_an_overlap_says_how_many_are_in_both(asked: list[Any]) -> None:
    found, own, unknown = details(
        full(), "overlap.json?with=vip", "overlap.json?with=high-intent", "overlap.json?with=x"
    )
    assert (found["both"], found["only_this"], found["only_other"]) == (300, 700, 301)
    assert (found["of_this"], round(found["of_other"], 3)) == (0.3, 0.499)
    assert own["missing"] == unknown["missing"] == "choose another segment"
    assert len(asked) == 1


def test_a_funnel_counts_each_node_over_a_sample(asked: list[Any]) -> None:
    (found,) = details(full(), "funnel.json")
    assert [(each["label"], each["holds"]) for each in found["nodes"]] == [
        ("all of", 1_000),
        ("did A", 1_400),
    ]
    (question,) = asked
    assert (question.segment, question.funnel) == ("high-intent", True)
    assert question.share == pytest.approx(4_000 / 41_250)


def test_what_cannot_be_counted_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any, **__: Any) -> Any:
        raise SegopsError("0 of 8 partitions answered; is a worker running?")

    monkeypatch.setattr(segment_details, "patient_scan", fail)
    for found in details(full(), "forecast.json", "funnel.json", "overlap.json?with=vip"):
        assert found == {"missing": "0 of 8 partitions answered; is a worker running?"}


# -- members -----------------------------------------------------------------------------------------------

MEMBERS = [
    PastMembership(f"email:ann{n}@shop.example", "high-intent", 2, NOW_MS - n, "event", f"m{n}", NOW_MS + n)
    for n in range(segment_details.MEMBERS + 5)
]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> None:
    async def members(_settings: Any, _key: str) -> list[PastMembership]:
        return MEMBERS

    monkeypatch.setattr(segment_details, "current_members", members)


@pytest.mark.usefixtures("read")
def test_members_are_shown_page_by_page_and_the_reading_is_noted() -> None:
    board = full()

    async def steps(browser: Browser) -> None:
        await board.tick()
        page = await browser.get("/segments/high-intent/members", X_User="ed", X_Role="editor")
        assert "email:ann0@shop.example" in page.text and "entered by an event" in page.text
        found = (
            await browser.get("/segments/high-intent/members.json?at=50", X_User="ed", X_Role="editor")
        ).json
        assert [each["name"] for each in found["members"]] == [
            f"email:ann{n}@shop.example" for n in range(50, 55)
        ]
        assert (found["total"], found["from"], found["after"]) == (55, 51, "")
        noted = entries_of(browser.audit, "segment.members")
        assert [(each.user, each.data["segment"], each.data["count"]) for each in noted] == [
            ("ed", "high-intent", 50),
            ("ed", "high-intent", 5),
        ]

    serve(steps, board=board, **PROXY)


@pytest.mark.usefixtures("read")
def test_viewers_see_how_many_but_not_who() -> None:
    board = full()

    async def steps(browser: Browser) -> None:
        await board.tick()
        for path in ("members", "members.json", "members.json?at=50"):
            page = await browser.get(f"/segments/high-intent/{path}", X_User="vera", X_Role="viewer")
            assert page.status == 200
            assert "ann0" not in page.text and "email:" not in page.text and "@" not in page.text
            assert "Person " in page.text
        assert not entries_of(browser.audit, "segment.members")

    serve(steps, board=board, **PROXY)


@pytest.mark.usefixtures("read")
def test_without_the_audit_nobody_is_shown() -> None:
    board = full()

    async def steps(browser: Browser) -> None:
        await board.tick()
        browser.audit.down = True
        page = await browser.get("/segments/high-intent/members.json")
        assert page.status == 503 and "ann0" not in page.text

    serve(steps, board=board)


# -- actions -----------------------------------------------------------------------------------------------


@pytest.fixture
def publishing(monkeypatch: pytest.MonkeyPatch) -> Callable[[FilledBoard], list[Any]]:
    """Let changes be published to the board itself; return what was."""

    def on(board: FilledBoard) -> list[Any]:
        done: list[Any] = []

        async def commit(_settings: Any, decide: Callable[[DefinitionLog], Any]) -> Any:
            changes, _ = decide(board.log)
            for each in changes:
                if each.record is not None:
                    board.take("segments", each.key.encode(), each.record)
            done.extend((each.key, each.action) for each in changes)
            await board.tick()
            return changes

        monkeypatch.setattr(segment_actions, "commit", commit)
        return done

    return on


def test_a_segment_is_paused_resumed_and_retired(publishing: Any) -> None:
    board = full()
    done = publishing(board)

    async def steps(browser: Browser) -> None:
        await board.tick()

        def seen() -> str:
            return fingerprint(board.definitions["asleep"])

        answer = await browser.post("/segments/asleep/resume", {"seen": seen()}, script=True)
        assert (answer.status, answer.json["message"]) == (200, "Asleep is live again.")
        answer = await browser.post("/segments/asleep/pause", {"seen": seen()})
        assert (answer.status, answer.headers["Location"]) == (303, "/segments/asleep")
        answer = await browser.post(
            "/segments/asleep/retire", {"seen": seen(), "confirmation": "asleep "}, script=True
        )
        assert (answer.status, answer.json["location"]) == (200, "/segments")
        assert done == [("asleep", "resumed"), ("asleep", "paused"), ("asleep", "retired")]
        assert "asleep" not in board.definitions
        assert [each.result for each in entries_of(browser.audit, "segment.retire")][-1] == "done"

    serve(steps, board=board)


def test_a_stale_page_is_refused_with_the_difference(publishing: Any) -> None:
    board = full()
    done = publishing(board)

    async def steps(browser: Browser) -> None:
        await board.tick()
        seen = fingerprint(board.definitions["vip"])
        board.define(
            {"key": "vip", "name": "VIP", "when": {"did": "Order Completed", "count": {"gte": 9}}}, version=2
        )
        for action in ("pause", "resume", "retire"):
            typed = {"confirmation": "vip"} if action == "retire" else {}
            answer = await browser.post(f"/segments/vip/{action}", {"seen": seen, **typed}, script=True)
            assert answer.status == 409
            assert "version 2" in answer.json["error"]
            found = answer.json["data"]["difference"]
            lines = [(each["kind"], each["text"].strip()) for each in found if each["kind"] != "same"]
            assert lines == [("removed", "count: {gte: 5}"), ("added", "count: {gte: 9}")]
        assert done == []

    serve(steps, board=board)


def test_what_is_used_cannot_be_retired(publishing: Any) -> None:
    board = full()
    done = publishing(board)

    async def steps(browser: Browser) -> None:
        await board.tick()
        expected = {
            "high-intent": "delivered or suppressed by the audiences winback",
            "vip": "used by calm (in_segment)",
            "asleep": "type asleep to confirm",
        }
        for key, reason in expected.items():
            form = {
                "seen": fingerprint(board.definitions[key]),
                "confirmation": key.replace("asleep", "aslep"),
            }
            answer = await browser.post(f"/segments/{key}/retire", form, script=True)
            assert answer.status == 422
            assert reason in answer.json["error"]
        assert done == []

    serve(steps, board=board)


def test_what_is_no_segment_cannot_be_changed(publishing: Any) -> None:
    board = full()
    publishing(board)

    async def steps(browser: Browser) -> None:
        await board.tick()
        assert (await browser.post("/segments/none/pause", {"seen": ""}, script=True)).status == 404
        retired = await browser.post("/segments/old/pause", {"seen": "abc"}, script=True)
        assert (retired.status, retired.json["data"]) == (409, {"retired": True})

    serve(steps, board=board)


def test_viewers_change_nothing(publishing: Any) -> None:
    board = full()
    done = publishing(board)

    async def steps(browser: Browser) -> None:
        await board.tick()
        for action in ("pause", "resume", "retire"):
            sent = {"seen": fingerprint(board.definitions["vip"])}
            answer = await browser.submit(f"/segments/vip/{action}", sent, X_User="vera", X_Role="viewer")
            assert answer.status == 403
        assert done == []

    serve(steps, board=board, **PROXY)
