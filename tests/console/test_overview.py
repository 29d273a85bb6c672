"""The overview, and the live stream of the pages of the read model."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from segops.console.board.polling import Polled
from segops.console.board.vitals import Point, Vitals
from segops.console.pages.overview import OverviewSource

from .board import FilledBoard, full
from .helpers import NOW_MS, Browser, serve


def shown(board: FilledBoard, path: str = "/index.json") -> Any:
    """Return the JSON of a page on a board."""
    found: list[Any] = []

    async def steps(browser: Browser) -> None:
        await board.tick()
        found.append((await browser.get(path)).json)

    serve(steps, board=board)
    return found[0]


def test_the_figures_are_those_of_the_read_model() -> None:
    board = full()
    board._vitals.now = Vitals(NOW_MS, 1_234.4, 10, 38.2, 2_180.0, 530, 1, 2, NOW_MS - 90_000, 0, 1, 1)
    page = shown(board)
    tiles = {each["key"]: each["value"] for each in page["tiles"]}
    assert tiles == {
        "events": "1,234",
        "p50": "38 ms",
        "p99": "2.2 s",
        "lag": "530",
        "people": "41.2k",
        "segments": "4",
    }
    health = {each["key"]: (each["value"], each["tone"]) for each in page["health"]}
    assert health["workers"] == ("1 of 1 answer", "good")
    assert health["watermark"] == ("1 minute 30 seconds behind", "warn")
    assert health["recovering"] == ("1 partition", "warn")
    assert health["overdue"] == ("2", "warn")
    assert page["firing"] == [
        {
            "segment": "high-intent",
            "alert": "members at_least 100",
            "since_ms": NOW_MS - 120_000,
            "number": 120,
        }
    ]


def test_changes_are_added_up_by_reason() -> None:
    board = full()
    hour = shown(board)["changes"]
    assert [(each["reason"], each["entered"], each["left"]) for each in hour["totals"]] == [
        ("event", 28, 0),
        ("merge", 0, 4),
    ]
    assert len(hour["steps"]) == 60
    day = shown(board, "/index.json?range=24h")["changes"]
    assert len(day["steps"]) == 24
    by_event = next(each for each in day["totals"] if each["reason"] == "event")
    assert by_event["entered"] == 28 + 3 * (19 + 20 + 21 + 22)
    assert by_event["left"] == sum(number * (19 + number) for number in range(4))


def test_the_segments_that_move_most_come_first() -> None:
    board = full()
    board.audience("winback", "high-intent")
    board.size("audience.winback", 5)
    names = [each["key"] for each in shown(board)["movers"]]
    assert names == ["asleep", "calm", "vip", "high-intent"]


def test_an_empty_system_says_how_to_begin() -> None:
    board = FilledBoard()

    async def steps(browser: Browser) -> None:
        await board.tick()
        page = await browser.get("/")
        assert page.status == 200
        assert "No segment yet" in page.text and "/builder" in page.text

    serve(steps, board=board)


def test_without_kafka_what_is_known_is_shown_and_marked_as_old() -> None:
    board = full()
    board.told_ms, board.away = NOW_MS - 600_000, "waiting for Kafka: connection refused"

    async def steps(browser: Browser) -> None:
        await board.tick()
        for path in ("/", "/segments", "/segments/vip"):
            page = await browser.get(path)
            assert "What is shown may be old: waiting for Kafka: connection refused" in page.text
            assert "as-of stale" in page.text
        assert (await browser.get("/segments.json")).json["rows"][0]["members"] == 1_003

    serve(steps, board=board)


def test_names_are_texts_and_no_markup() -> None:
    board = full()
    hostile = "<script>alert(1)</script>\"'\u202e"
    board.define({"key": "bad", "name": hostile, "when": {"did": "<img src=x onerror=alert(2)>"}})
    board.minute("bad", 1, 90_000, {"event": 9_000, "<b>": 1}, {})
    board.size("bad", 90_000)
    board.alert("bad", "<i>")
    board._vitals.hear([Polled("http://<u>:1", NOW_MS, None, "<s>")], Polled("d", NOW_MS))

    async def steps(browser: Browser) -> None:
        await board.tick()
        for path in ("/", "/segments?q=<script>", "/segments", "/segments/bad", "/segments?to='\"><b>"):
            text = (await browser.get(path)).text
            assert "alert(1)" not in text or "&lt;script&gt;alert(1)" in text
            for tag in ("<script>alert", "<img src=x", "<b>", "<i>", "<u>", "<s>"):
                assert tag not in text, (path, tag)

    serve(steps, board=board)


# -- the stream --------------------------------------------------------------------------------------------


async def _heard(browser: Browser, path: str, board: FilledBoard, count: int) -> list[tuple[str, Any]]:
    """Return the first messages of a stream; the board ticks in between."""
    found: list[tuple[str, Any]] = []
    async with browser.client.get(path) as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        while len(found) < count:
            fields = {}
            while (line := (await response.content.readline()).decode().strip("\n")) != "":
                name, _, value = line.partition(": ")
                fields[name] = value
            if "event" in fields:
                found.append((fields["event"], json.loads(fields["data"])))
                await board.tick()
    return found


def test_the_stream_of_the_overview_has_its_figures() -> None:
    board = full()
    board._vitals.points.append(Point(NOW_MS, 12.34, 1))

    async def steps(browser: Browser) -> None:
        await board.tick()
        (event, data), (later, _) = await _heard(browser, "/live?page=overview", board, 2)
        assert (event, later) == ("snapshot", "delta")
        assert data["figures"]["segments"] == "4"
        assert data["series"] == [[NOW_MS, 12.3]]

    serve(steps, board=board)


def test_the_stream_of_segments_has_the_rows_that_are_asked_for() -> None:
    board = full()

    async def steps(browser: Browser) -> None:
        await board.tick()
        ((event, data),) = await _heard(browser, "/live?page=segments&keys=vip%20asleep%20unknown", board, 1)
        assert event == "snapshot"
        rows = data["rows"]
        assert {key: row[0] for key, row in rows.items()} == {"vip": 1_001, "asleep": 1_003}
        assert rows["asleep"][3] == "paused"
        ((_, everything),) = await _heard(browser, "/live?page=segments", board, 1)
        assert sorted(everything["rows"]) == ["asleep", "calm", "high-intent", "vip"]

    serve(steps, board=board)


@pytest.mark.parametrize("path", ["/live?page=segments&keys=vip", "/live?page=segment&key=vip"])
def test_a_page_that_comes_back_before_all_is_read_waits_for_its_segments(path: str) -> None:
    board = full()
    board.told_ms = None

    async def steps(browser: Browser) -> None:
        async with browser.client.get(path) as response:
            await board.tick()
            board.told_ms = NOW_MS
            await board.tick()
            message = await response.content.readuntil(b"\n\n")
            message = await response.content.readuntil(b"\n\n") if b"retry" in message else message
        data = json.loads(message.partition(b"data: ")[2])
        assert (data["rows"]["vip"][0] if "rows" in data else data["figures"]["members"]) == 1_001

    serve(steps, board=board)


def test_a_change_of_a_size_reaches_the_stream() -> None:
    board = full()

    async def steps(browser: Browser) -> None:
        await board.tick()

        async def grow() -> None:
            await asyncio.sleep(0)
            board.size("vip", 7_777)

        growing = asyncio.create_task(grow())
        messages = await _heard(browser, "/live?page=segments&keys=vip", board, 2)
        await growing
        assert any(data["rows"].get("vip", [0])[0] == 7_777 for _, data in messages)

    serve(steps, board=board)


def test_the_stream_of_a_segment_tells_what_happens_but_not_to_whom() -> None:
    board = full()

    async def steps(browser: Browser) -> None:
        await board.tick()
        ((_, data),) = await _heard(browser, "/live?page=segment&key=high-intent", board, 1)
        assert data["figures"]["members"] == 1_000
        assert [each["words"] for each in data["happenings"]][:2] == [
            "entered by an event",
            "left by an event",
        ]
        assert "user_id" not in json.dumps(data) and "ann@" not in json.dumps(data)

    serve(steps, board=board)


def test_a_stream_of_nothing_says_so() -> None:
    board = full()

    async def steps(browser: Browser) -> None:
        await board.tick()
        for path in ("/live", "/live?page=segment&key=none", "/live?page=x"):
            async with browser.client.get(path) as response:
                assert (await response.content.read()).startswith(b"event: gone\n")

    serve(steps, board=board)


def test_the_overview_is_silent_while_nothing_changes() -> None:
    board = full()
    asyncio.run(board.tick())
    source = OverviewSource(board, lambda: NOW_MS)
    assert source.delta() is not None
    assert source.delta() is None
    board.population(50_000)
    changed = source.delta()
    assert changed is not None and changed["figures"]["people"] == "50.0k"
