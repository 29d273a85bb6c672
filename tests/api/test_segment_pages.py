"""The pages of segments: parameters, statuses and answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from segops.analytics.alert_log import AlertLog
from segops.analytics.sizes import SegmentSizes
from segops.api.access import Access
from segops.api.health import Page
from segops.api.segments import SegmentPages
from segops.api.server import Pages
from segops.core.rules.alerts import Alert
from segops.schemas.alerts import (
    EVALUATED_KEY,
    AlertRecord,
    AlertState,
    Evaluated,
    alert_key,
    encode_alert,
)
from segops.schemas.sizes import PopulationFigures, PopulationRecord
from tests.analytics.recount import HOUR, START, published, size, trend

RECORDS = [
    size("buyers", 0, 4),
    size("vip", 0, 3, entered={"unknown": 3}),
    size("vip", 1, 5, clock_ms=START + 1_000),
    trend("vip", 1, START, (6, 1), 5),
]


def figures() -> SegmentSizes:
    sizes = SegmentSizes(2)
    for record in RECORDS:
        sizes.apply(*published(record))
    return sizes


def firing() -> AlertLog:
    log = AlertLog()
    for number in range(3):
        alert = Alert("members", at_most=number)
        key = alert_key("vip", alert)
        state: AlertState = "recovered" if number == 1 else "firing"
        record = AlertRecord(f"id-{number}", "vip", alert.text, state, START, START, 5)
        log.apply(key, encode_alert(record))
    log.apply(EVALUATED_KEY, encode_alert(Evaluated(0, START + HOUR)))
    return log


def get(
    path: str,
    sizes: SegmentSizes | None = None,
    *,
    token: str | None = None,
    local: bool = True,
    **header: str,
) -> Page:
    known = figures() if sizes is None else sizes
    pages = Pages({}, None, SegmentPages(lambda: known, firing, Access(token=token, local=local)))
    bare, _, query = path.partition("?")
    return pages.page("GET", bare, header.get("authorization"), query)


def body(path: str) -> Any:
    page = get(path)
    assert (page.status, page.content_type) == (200, "application/json"), page.body
    return json.loads(page.body)


def test_segments_are_listed_with_their_figures() -> None:
    found = body("/segments")
    assert [(each["key"], each["members"], each["complete"]) for each in found["segments"]] == [
        ("buyers", 4, False),
        ("vip", 8, True),
    ]
    assert found["as_of"] == {"least_ms": START, "greatest_ms": START + 59_999}
    assert found["next"] is None


def test_pages_follow_one_another_by_key() -> None:
    first = body("/segments?limit=1")
    assert ([each["key"] for each in first["segments"]], first["next"]) == (["buyers"], "buyers")
    rest = body("/segments?limit=1&after=buyers")
    assert ([each["key"] for each in rest["segments"]], rest["next"]) == (["vip"], None)


def test_a_segment_has_periods_and_reasons() -> None:
    found = body("/segments/vip")
    assert found["last_hour"] == {"adds": 6, "drops": 1, "net": 5, "volatility": 0.875}
    assert (found["state"], found["version"], found["entered"]) == ("live", 1, {"event": 5, "unknown": 3})
    assert found["as_of"]["least_ms"] == START


def test_a_trend_has_the_members_at_the_end_of_each_step() -> None:
    found = body("/segments/vip/trend?step=1h&from=2025-10-12T23:00:00Z")
    assert found["steps"] == [
        {"start_ms": START - HOUR, "members": 3, "adds": 0, "drops": 0},
        {"start_ms": START, "members": 8, "adds": 6, "drops": 1},
    ]
    assert len(body("/segments/vip/trend")["steps"]) == 24
    assert len(body("/segments/vip/trend?step=5m&to=2025-10-13T00:05:00%2B00:00")["steps"]) == 24


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/segments/none", 404, "unknown"),
        ("/segments/none/trend", 404, "unknown"),
        ("/segments/vip%20", 404, "unknown"),
        ("/population", 404, "unknown"),
        ("/segments/", 404, "no such page"),
        ("/segments/vip/", 404, "no such page"),
        ("/segments/vip/trends", 404, "no such page"),
        ("/segments/vip/trend/x", 404, "no such page"),
        ("/segments//trend", 404, "no such page"),
        ("/population/x", 404, "no such page"),
        ("/segments?limit=0", 400, "limit: expected an integer from 1 to 500, got '0'"),
        ("/segments?limit=501", 400, "limit: expected an integer from 1 to 500, got '501'"),
        ("/segments?limit=%D9%A1", 400, "limit: expected an integer"),
        ("/segments?limit=", 400, "limit: expected an integer"),
        ("/segments?limit=" + "9" * 5_000, 400, "limit: expected an integer"),
        ("/segments?limit=1&limit=2", 400, "limit: expected once, got several"),
        ("/segments?page=2", 400, "unknown parameter 'page'; expected one of after, limit"),
        ("/segments/vip?limit=2", 400, "unknown parameter 'limit'; expected none"),
        ("/segments?after=%ff", 400, "expected at most 10 percent-encoded UTF-8 parameters"),
        ("/segments?" + "&".join(f"a{n}=1" for n in range(11)), 400, "expected at most 10"),
        ("/segments/vip/trend?step=0m", 400, "step: expected a duration above 0, got '0m'"),
        ("/segments/vip/trend?step=1y", 400, "step: expected a duration in ms, s, m, h, d or w"),
        ("/segments/vip/trend?step=90s", 400, "step: expected whole minutes, got 90s"),
        ("/segments/vip/trend?from=today", 400, "from: expected an ISO-8601 instant"),
        ("/segments/vip/trend?from=2020-01-01", 400, "from: expected an instant from"),
        ("/segments/vip/trend?step=1m&from=2025-10-12&to=2025-10-11", 400, "to: expected an instant after"),
        ("/segments/vip/trend?step=1h&from=9999-01-01", 200, ""),
    ],
)
def test_status_of_each_request(path: str, status: int, text: str) -> None:
    page = get(path)
    assert page.status == status
    assert page.body.decode().startswith(text or "{")


def test_a_trend_has_a_greatest_number_of_steps() -> None:
    page = get("/segments/vip/trend?step=1m&from=2025-10-12&to=2025-10-13T00:00:00Z")
    assert page.status == 200 and len(json.loads(page.body)["steps"]) == 1_440


def test_requests_wait_until_the_topics_have_been_read() -> None:
    pages = Pages({}, None, SegmentPages(lambda: None, lambda: None, Access(token=None, local=True)))
    for path in ("/segments", "/segments/vip", "/segments/vip/trend", "/population", "/alerts"):
        page = pages.page("GET", path)
        assert (page.status, page.headers) == (503, {"Retry-After": "1"})
    assert pages.page("GET", "/segments", None, "limit=0").status == 400


def test_population_is_a_page() -> None:
    names = ("known", "daily", "weekly", "monthly", "new", "returning", "resurrected", "dormant")
    sizes = figures()
    shown = PopulationFigures(day_ms=START, **{name: n for n, name in enumerate(names, 1)})
    sizes.apply(*published(PopulationRecord(0, 2, 0, START, shown)))
    found = json.loads(get("/population", sizes).body)
    assert (found["known"], found["stickiness"], found["complete"]) == (1, 0.5, False)


def test_firing_alerts_are_a_page() -> None:
    found = body("/alerts")
    assert (found["evaluated_ms"], found["next"]) == (START + HOUR, None)
    assert [each["alert"] for each in found["alerts"]] == ["members at_most 0", "members at_most 2"]
    first = body("/alerts?limit=1")
    assert ([each["alert_id"] for each in first["alerts"]], first["next"]) == (
        ["id-0"],
        "vip|members at_most 0",
    )
    second = body("/alerts?limit=1&after=vip%7Cmembers+at_most+0")
    assert ([each["alert_id"] for each in second["alerts"]], second["next"]) == (["id-2"], None)
    assert get("/alerts?limit=x").status == get("/alerts?step=1h").status == 400


@pytest.mark.parametrize(
    ("token", "local", "header", "status"),
    [
        (None, True, None, 200),
        (None, False, None, 403),
        ("secret", True, None, 401),
        ("secret", False, "Bearer wrong", 401),
        ("secret", False, "Bearer secret", 200),
    ],
)
def test_segments_are_served_on_loopback_or_with_the_token(
    token: str | None, local: bool, header: str | None, status: int
) -> None:
    headers = {} if header is None else {"authorization": header}
    for path in ("/segments", "/segments/vip", "/segments/vip/trend", "/alerts"):
        assert get(path, token=token, local=local, **headers).status == status


def test_other_methods_are_refused() -> None:
    pages = Pages({}, None, SegmentPages(figures, lambda: None, Access(token=None, local=True)))
    assert pages.page("POST", "/segments").status == 405
    assert pages.page("HEAD", "/segments").status == 200
