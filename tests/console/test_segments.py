"""The list of segments, and the page of one."""

from __future__ import annotations

import re
from typing import Any

import pytest

from segops.console.pages.segments import SHOWN, SegmentsSource

from .board import RULE, FilledBoard, full
from .helpers import NOW_MS, Browser, serve

KEYS = ["asleep", "calm", "vip", "high-intent"]


def shown(board: FilledBoard, *paths: str) -> list[Any]:
    """Return the JSON of pages on a board."""
    found: list[Any] = []

    async def steps(browser: Browser) -> None:
        await board.tick()
        for path in paths:
            answer = await browser.get(path)
            found.append(answer.json if answer.status == 200 else answer.status)

    serve(steps, board=board)
    return found


# -- the list ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ("", ["asleep", "calm", "vip", "high-intent"]),
        ("?sort=name", ["asleep", "calm", "high-intent", "vip"]),
        ("?sort=state", ["calm", "high-intent", "vip", "asleep"]),
        ("?sort=drops", ["asleep", "calm", "vip", "high-intent"]),
        ("?sort=nothing&at=x", ["asleep", "calm", "vip", "high-intent"]),
        ("?q=HIGH", ["high-intent"]),
        ("?q=intent&state=paused", []),
        ("?state=paused", ["asleep"]),
        ("?state=retired", ["old"]),
        ("?to=crm-hook", ["high-intent"]),
        ("?to=klaviyo", []),
        ("?kind=audiences", []),
    ],
)
def test_segments_are_searched_filtered_and_sorted(query: str, keys: list[str]) -> None:
    (page,) = shown(full(), f"/segments.json{query}")
    assert [each["key"] for each in page["rows"]] == keys
    assert page["total"] == len(keys)


def test_a_row_has_size_change_state_and_destinations() -> None:
    (page,) = shown(full(), "/segments.json?q=high-intent")
    (row,) = page["rows"]
    figures = {
        name: row[name] for name in ("members", "adds", "drops", "net", "state", "version", "delivered")
    }
    assert figures == {
        "members": 1_000,
        "adds": 83,
        "drops": 20,
        "net": 63,
        "state": "live",
        "version": 2,
        "delivered": ["crm-hook"],
    }
    assert len(row["spark"]) == 24 and row["spark"][-1] == 1_000
    assert row["path"].startswith("M0.0,")


def test_ten_thousand_segments_are_shown_page_by_page() -> None:
    board = FilledBoard()
    for number in range(SHOWN * 2 + 7):
        board.define({"key": f"s{number:05}", "when": {"did": "A"}})
    first, last, beyond = shown(
        board,
        "/segments.json?sort=name",
        "/segments.json?sort=name&at=100",
        "/segments.json?sort=name&at=99999999",
    )
    assert [each["key"] for each in first["rows"]] == [f"s{n:05}" for n in range(SHOWN)]
    assert (first["before"], first["after"]) == ("", "/segments?sort=name&at=50")
    assert (last["from"], last["until"], last["total"]) == (101, 107, 107)
    assert (last["before"], last["after"]) == ("/segments?sort=name&at=50", "")
    assert beyond["rows"] == last["rows"]


def test_a_message_has_so_many_rows_and_the_others_follow() -> None:
    board = FilledBoard()
    source = SegmentsSource(board, None, most=3)
    for number in range(5):
        board.size(f"s{number}", number)

    async def steps(_browser: Browser) -> None:
        await board.tick()
        first, second = source.delta(), source.delta()
        assert first is not None and second is not None
        assert (len(first["rows"]), len(second["rows"])) == (3, 2)
        assert source.delta() is None
        board.told_ms = NOW_MS
        assert source.delta() == {"as_of_ms": NOW_MS, "rows": {}}
        source.close()

    serve(steps, board=board)


# -- one segment -------------------------------------------------------------------------------------------


def test_a_segment_has_its_rule_in_three_forms() -> None:
    (page,) = shown(full(), "/segments/high-intent.json")
    assert page["sentence"] == (
        "Customers who did Product Viewed where category = shoes ≥ 3 within 1w "
        "and not did Order Completed within 1w."
    )
    assert page["tree"]["label"] == "all of"
    assert [each["label"] for each in page["tree"]["parts"]][1] == "not"
    assert [each["number"] for each in page["tree"]["parts"]] == [1, 2]
    assert "key: high-intent" in page["yaml"] and "did: Product Viewed" in page["yaml"]


def test_a_segment_has_its_trend_with_notes() -> None:
    day, month = shown(full(), "/segments/high-intent.json", "/segments/high-intent.json?range=30d")
    assert day["trend"]["points"][-1][1] == 1_000
    assert len(day["trend"]["points"]) == 96
    assert [each["text"] for each in day["trend"]["notes"]] == ["version 2 published", "version 1 published"]
    assert month["trend"]["points"][0][0] < NOW_MS - 28 * 86_400_000


def test_backfills_are_marked_on_the_trend() -> None:
    board = full()
    counted: list[tuple[int, dict[str, int]]] = [
        (300, {"backfill": 40, "event": 2}),
        (299, {"backfill": 3}),
        (299, {"backfill": 5}),  # the minute is written again: the latest record counts
        (100, {"backfill": 7}),
        (90, {"event": 9}),
    ]
    for ago, entered in counted:
        board.minute("vip", ago, 900, entered, {"backfill": 1} if ago == 300 else {})
    paths = ("/segments/vip.json", "/segments/calm.json", "/segments/vip.json?range=7d")
    (page, other, week) = shown(board, *paths)
    marked = [each for each in page["trend"]["notes"] if each["short"] == "past events"]
    assert [each["text"] for each in marked] == [
        "past events counted: 45 entered, 1 left",
        "past events counted: 7 entered, 0 left",
    ]
    assert marked[0]["at_ms"] == NOW_MS // 60_000 * 60_000 - 300 * 60_000
    assert all(each["short"] != "past events" for each in other["trend"]["notes"])
    joined = [each["text"] for each in week["trend"]["notes"] if each["short"] == "past events"]
    assert joined == ["past events counted: 52 entered, 1 left"]


def test_versions_are_listed_with_what_differs() -> None:
    (page,) = shown(full(), "/segments/high-intent.json")
    assert [(each["version"], each["what"]) for each in page["editions"]] == [
        (2, "version 2 published"),
        (1, "version 1 published"),
    ]
    added = [each["text"].strip() for each in page["editions"][0]["difference"] if each["kind"] == "added"]
    assert "- not:" in added and "description: Looks at shoes" in added


def test_who_uses_a_segment_is_listed() -> None:
    (page, asleep) = shown(full(), "/segments/high-intent.json", "/segments/asleep.json")
    assert page["used_by"] == ["calm"]
    assert [(each["key"], each["state"], each["to"]) for each in page["audiences"]] == [
        ("winback", "active", ["crm-hook"])
    ]
    assert page["alerts"] == [{"text": "members at_least 100", "firing": True, "since_ms": NOW_MS - 120_000}]
    assert (asleep["state"], asleep["paused"], asleep["used_by"]) == ("paused", True, [])


def test_entries_and_exits_are_shown_by_reason_and_without_people() -> None:
    (page,) = shown(full(), "/segments/high-intent.json")
    assert [(each["reason"], each["entered"], each["left"]) for each in page["reasons"]] == [
        ("event", 1_010, 0),
        ("time", 0, 10),
    ]
    assert [each["member"] for each in page["happenings"]] == [True, False, True, False, True]
    assert "user_id" not in str(page["happenings"])


def test_what_is_no_segment_is_not_found() -> None:
    board = full()
    assert (
        shown(board, "/segments/none.json", "/segments/old.json", "/segments/none/members.json") == [404] * 3
    )

    async def steps(browser: Browser) -> None:
        await board.tick()
        assert "It was retired at version 1." in (await browser.get("/segments/old")).text

    serve(steps, board=board)


def test_buttons_are_for_those_who_may() -> None:
    board = full()

    async def steps(browser: Browser) -> None:
        await board.tick()
        page = (await browser.get("/segments/asleep", X_User="vera", X_Role="viewer")).text
        assert "/segments/asleep/resume" not in page and "/builder/asleep" not in page
        page = (await browser.get("/segments/asleep", X_User="ed", X_Role="editor")).text
        assert "/segments/asleep/resume" in page and "/segments/asleep/retire" in page
        used = (await browser.get("/segments/high-intent", X_User="ed", X_Role="editor")).text
        assert "/segments/high-intent/retire" not in used and "/segments/high-intent/pause" in used

    serve(
        steps,
        board=board,
        trusted_proxies="127.0.0.1",
        proxy_user_header="X-User",
        proxy_role_header="X-Role",
    )


def test_a_rule_of_a_hostile_name_stays_text() -> None:
    board = full()
    name = "<img src=x onerror=alert(1)>\u202e" + "x" * 1_900
    board.define(
        {
            "key": "bad",
            "name": "</h1><script>alert(1)</script>",
            "when": {"did": name},
            "description": "'>\"<b>",
        }
    )
    board.define(
        {"key": "bad", "name": "</h1><script>alert(2)</script>", "when": {"all": [RULE, {"did": name}]}},
        version=2,
    )

    async def steps(browser: Browser) -> None:
        await board.tick()
        for path in ("/segments/bad", "/segments/bad/members"):
            text = (await browser.get(path)).text
            assert re.search(r"<img src=x|<script>alert|<b>", text) is None

    serve(steps, board=board)
