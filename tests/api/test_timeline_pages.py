"""The page of a profile's timeline: what it asks, what it answers, and what it refuses."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from segops.api.access import Access
from segops.api.health import Page
from segops.api.profiles import Elsewhere, NotReady
from segops.api.scans import Call
from segops.api.timeline import RecentTimeline, TimelinePages, TimelineRequest
from segops.core.errors import SegopsError
from segops.core.profile import Profile
from segops.core.segments import SegmentSet
from segops.core.values import MAX_MS
from segops.core.views.profile import ProfileView, view_profile
from segops.core.views.timeline import TimelineEvent
from segops.kafka.reachability import Unreachable

LOCAL = Access(token=None, local=True)
ANN = view_profile(SegmentSet([]), Profile("user_id:ann", first_ms=5, latest_ms=9), 10)
FOUND = RecentTimeline("user_id:ann", [TimelineEvent(7, "user_id:ann", "Viewed", "m1", {"n": 1})], 3, 5, 0)


def look(identifier: str) -> ProfileView | Elsewhere | None:
    if identifier == "user_id:restored":
        raise NotReady
    return {"user_id:ann": ANN, "email:ann@x": Elsewhere("user_id:ann", "http://b:6066")}.get(identifier)


class Reader:
    """Answers at once, or fails, and records what it is asked."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[tuple[str, TimelineRequest]] = []
        self.error = error

    async def __call__(self, profile: ProfileView, request: TimelineRequest) -> RecentTimeline:
        self.asked.append((profile.profile_id, request))
        if self.error is not None:
            raise self.error
        return FOUND


async def no_body() -> bytes | None:
    return None


def page(reader: Any, identifier: str = "user_id%3Aann", access: Access = LOCAL, **query: str) -> Page:
    call = Call("GET", f"/profiles/{identifier}/timeline", query, None, no_body)
    return asyncio.run(TimelinePages(look, reader, access).page(call))


def test_the_timeline_says_what_it_covers() -> None:
    reader = Reader()
    found = page(reader)
    assert (found.status, found.headers) == (200, {"Cache-Control": "no-store"})
    assert reader.asked == [("user_id:ann", TimelineRequest(100, -MAX_MS, MAX_MS))]
    assert json.loads(found.body) == {
        "profile_id": "user_id:ann",
        "entries": [
            {
                "kind": "event",
                "time_ms": 7,
                "profile_id": "user_id:ann",
                "name": "Viewed",
                "message_id": "m1",
                "properties": {"n": 1},
                "origin": None,
            }
        ],
        "left_out": 3,
        "events_since_ms": 5,
        "changes_since_ms": 0,
    }


def test_parameters_are_passed_on() -> None:
    reader = Reader()
    bounds = {"from": "1970-01-01T00:00:01Z", "to": "1970-01-01T00:00:02Z"}
    assert page(reader, limit="7", **bounds).status == 200
    assert reader.asked == [("user_id:ann", TimelineRequest(7, 1_000, 2_000))]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({"limit": "0"}, "limit: expected an integer from 1 to 1,000, got '0'"),
        ({"limit": "1001"}, "limit: expected an integer from 1 to 1,000"),
        ({"from": "yesterday"}, "from: expected an ISO-8601 instant"),
        ({"at": "x"}, "unknown parameter 'at'; expected one of limit, from, to"),
        (
            {"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"},
            "to: expected an instant after from",
        ),
    ],
)
def test_invalid_parameters_are_named(query: dict[str, str], text: str) -> None:
    found = page(Reader(), **query)
    assert (found.status, text in found.body.decode()) == (400, True)


@pytest.mark.parametrize(
    ("identifier", "status"),
    [("user_id%3Abob", 404), ("ann", 400), ("%ff", 400), ("user_id%3Arestored", 503)],
)
def test_profiles_that_cannot_be_shown(identifier: str, status: int) -> None:
    reader = Reader()
    assert page(reader, identifier).status == status
    assert reader.asked == []


def test_another_worker_is_named_with_the_same_query() -> None:
    found = page(Reader(), "email%3Aann%40x", limit="5")
    assert found.status == 307
    assert found.headers["Location"] == "http://b:6066/profiles/user_id%3Aann/timeline?limit=5"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TimeoutError(), 504),
        (Unreachable("nothing listens"), 503),
        (SegopsError("odd"), 500),
        (KeyError("bug"), 500),
    ],
)
def test_failures_have_a_status(error: Exception, status: int) -> None:
    assert page(Reader(error)).status == status


def test_profiles_need_the_token() -> None:
    reader = Reader()
    assert page(reader, access=Access(token="secret", local=True)).status == 401
    assert page(reader, access=Access(token=None, local=False)).status == 403
    assert reader.asked == []


def test_two_timelines_are_read_at_a_time() -> None:
    async def work() -> list[int]:
        gate = asyncio.Event()

        async def read(_profile: ProfileView, _request: TimelineRequest) -> RecentTimeline:
            await gate.wait()
            return FOUND

        pages = TimelinePages(look, read, LOCAL)
        call = Call("GET", "/profiles/user_id%3Aann/timeline", {}, None, no_body)
        running = [asyncio.create_task(pages.page(call)) for _ in range(2)]
        await asyncio.sleep(0)
        refused = await pages.page(call)
        gate.set()
        statuses = [(await each).status for each in running]
        return [refused.status, *statuses, (await pages.page(call)).status]

    assert asyncio.run(work()) == [503, 200, 200, 200]
