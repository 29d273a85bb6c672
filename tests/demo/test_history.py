"""The demo's input: purchases, clicks, and the history made of both."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from itertools import islice, pairwise
from typing import Any

import pytest

from segops.core.errors import UserError
from segops.core.values import parse_instant
from segops.demo.clicks import CALLS, SHIFT_MS, clicks
from segops.demo.history import AFTERWARDS_MS, OrderHistory, arrange, read_history
from segops.demo.input_events import InputEvent
from segops.demo.life import repeated
from segops.demo.purchases import purchases, reachable_at
from segops.demo.wheels import data_file
from segops.schemas.events import route
from tests.rest import rest

DAY_MS = 86_400_000
FAR_MS = 4_000_000_000_000


def call(event: InputEvent) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(event.line)
    return found


def row(event: str, timestamp: str = "2024-03-13 10:21:14", visitor: str = "user_0000") -> dict[str, str]:
    return {
        "user_id": visitor,
        "session_id": "sess_1",
        "event": event,
        "timestamp": timestamp,
        "platform": "desktop",
        "acquisition_channel": "email",
        "user_cohort": "2024-01",
        "user_lifecycle": "new",
    }


@pytest.fixture(scope="module")
def history() -> OrderHistory:
    return read_history()


@pytest.fixture(scope="module")
def everything(history: OrderHistory) -> list[InputEvent]:
    return history.events


def test_a_purchase_becomes_an_order() -> None:
    (event,) = purchases([" 00002 19970112  5   77.00\r\n"])
    order = call(event)
    assert order.pop("timestamp").startswith("1997-01-12T")
    assert order == {
        "type": "track",
        "event": "Order Completed",
        "userId": "c00002",
        "messageId": "cdnow-00001",
        "properties": {"order_id": "order-00001", "revenue": 77.0, "currency": "USD", "quantity": 5},
        "context": {"traits": {"email": "c00002@shop.example", "consent": {"marketing": True}}},
    }


def test_nine_of_ten_customers_may_be_written_to() -> None:
    orders = [*purchases(f"{number:05} 19970101 1 1.00" for number in range(1, 1_001))]
    agreed = {each.profile for each in orders if call(each)["context"]["traits"]["consent"]["marketing"]}
    assert agreed == {each.profile for each in orders if reachable_at(f"user_id:{each.profile}")}
    assert 850 < len(agreed) < 950


def test_purchases_of_one_day_are_spaced_within_the_day() -> None:
    line = "00009 19970103 1 9.99"
    times = [event.time_ms for event in purchases([line] * 16)]
    assert [later - earlier for earlier, later in pairwise(times)] == [7 * 60_000] * 15
    assert len({time_ms // DAY_MS for time_ms in times}) == 1


def test_the_time_of_day_depends_only_on_customer_and_day() -> None:
    lines = ["00001 19970101 1 1.00", "00002 19970101 1 1.00"]
    one, two = purchases(lines)
    other_two, other_one = purchases(reversed(lines))
    assert (one.time_ms, two.time_ms) == (other_one.time_ms, other_two.time_ms)


@pytest.mark.parametrize("line", ["", "00001 19970101 1", "00001 19971301 1 1.00", "00001 19970101 1 x"])
def test_an_invalid_purchase_is_named(line: str) -> None:
    with pytest.raises(UserError, match="purchase 2"):
        list(purchases(["00001 19970101 1 1.00", line]))


def test_a_click_gets_a_spec_name_and_is_shifted_by_whole_weeks() -> None:
    identify, step = clicks([row("product_view")])
    assert call(step) == {
        "type": "track",
        "event": "Product Viewed",
        "anonymousId": "user_0000",
        "messageId": "shop-00001",
        "timestamp": "1997-11-12T10:21:14.000Z",
        "properties": {"session_id": "sess_1", "platform": "desktop", "lifecycle": "new"},
    }
    assert call(identify)["traits"] == {"acquisition_channel": "email", "cohort": "2024-01"}
    assert identify.time_ms == step.time_ms - 1
    assert SHIFT_MS % (7 * DAY_MS) == 0


def test_pages_stay_pages_and_each_visitor_is_identified_once() -> None:
    rows = [row("home"), row("cart"), row("home", visitor="user_0001")]
    found = [call(event) for event in clicks(rows)]
    assert [(each["type"], each.get("name", each.get("event"))) for each in found] == [
        ("identify", None),
        ("page", "Home"),
        ("track", "Cart Viewed"),
        ("identify", None),
        ("page", "Home"),
    ]


def test_a_visitor_is_logged_in_from_the_account_page_on() -> None:
    rows = [row("home"), row("account_page"), row("payment_details"), row("home", visitor="user_0001")]
    found = sorted(clicks(rows))
    whose = [(call(event).get("userId"), call(event)["anonymousId"]) for event in found]
    assert whose.count((None, "user_0001")) == 2
    mine = [user for user, visitor in whose if visitor == "user_0000"]
    assert mine == [None, None, "w0000", "w0000", "w0000"]
    login = next(event for event in found if event.message_id.endswith("-login"))
    assert call(login)["type"] == "identify"
    assert login.profile == "user_0000"


@pytest.mark.parametrize("bad", [row("unheard_of"), row("home", "yesterday"), {"event": "home"}])
def test_an_invalid_click_is_named(bad: dict[str, str]) -> None:
    with pytest.raises(UserError, match="row 2"):
        list(clicks([row("home"), bad]))


@rest
def test_the_history_is_complete(everything: list[InputEvent]) -> None:
    orders = [call(event) for event in everything if event.message_id.startswith("cdnow-")]
    shop = [event for event in everything if event.message_id.startswith("shop-")]
    assert len(orders) == 69_659
    assert len({order["userId"] for order in orders}) == 23_570
    assert sum(Decimal(str(order["properties"]["revenue"])) for order in orders) == Decimal("2500315.63")
    names = Counter(json.loads(event.line)["type"] for event in shop)
    assert names["identify"] == 600 + 491  # first steps, and log-ins
    assert names["page"] + names["track"] == 31_106


def test_every_kind_of_click_occurs(everything: list[InputEvent]) -> None:
    calls = {(each["type"], each.get("event", each.get("name"))) for each in map(call, everything)}
    assert set(CALLS.values()) <= calls


def test_events_are_in_time_order_with_unique_ids(everything: list[InputEvent]) -> None:
    times = [event.time_ms for event in everything]
    assert times == sorted(times)
    assert len({event.message_id for event in everything}) == len(everything)
    assert all(parse_instant(call(event)["timestamp"]) == event.time_ms for event in everything)


def test_every_event_is_accepted(everything: list[InputEvent]) -> None:
    for event in everything:
        routed = route(event.line, now_ms=FAR_MS, default_time_ms=None)
        assert routed.time_ms == event.time_ms
        assert routed.profile_id.partition(":")[2] in (event.profile, event.profile.replace("user_", "w"))


def test_clicks_fall_within_the_time_of_the_purchases(everything: list[InputEvent]) -> None:
    assert everything[0].message_id.startswith("cdnow-")
    assert everything[-1].message_id.startswith("cdnow-")


def test_a_limit_keeps_complete_customers_over_the_whole_time(history: OrderHistory) -> None:
    some = read_history(3_000)
    assert len(some.events) == 3_000
    of_all = Counter(event.profile for event in history.events)
    of_some = Counter(event.profile for event in some.events)
    assert sum(of_all[profile] != count for profile, count in of_some.items()) <= 1
    assert some.last_ms - some.first_ms > 500 * DAY_MS
    assert some.final_ms == some.last_ms + AFTERWARDS_MS
    assert {event.message_id[:4] for event in some.events} == {"cdno", "shop"}


def test_an_empty_history_is_rejected() -> None:
    with pytest.raises(UserError, match="no events"):
        arrange([])


def test_a_missing_package_says_how_to_install_it() -> None:
    with pytest.raises(UserError, match="no_such_package; `make install`"):
        data_file("no_such_package", "file.csv")


def test_a_package_without_the_file_says_so() -> None:
    with pytest.raises(UserError, match=r"lifetimes has no no_such_file\.csv"):
        data_file("lifetimes", "no_such_file.csv")


def test_history_goes_on_later_with_new_messages_at_the_same_pace() -> None:
    history = arrange([*purchases(["00004 19970101 2 29.33", "00021 19980630 1 10.00"])])
    events = list(islice(repeated(history), 2 * len(history.events)))
    assert all(one.time_ms <= other.time_ms for one, other in pairwise(events))
    assert events[0].time_ms == history.final_ms + 1
    assert len({event.message_id for event in [*history.events, *events]}) == 3 * len(history.events)
    for event, former in zip(events, 2 * history.events, strict=True):
        written = call(event)
        assert parse_instant(written.pop("timestamp")) == event.time_ms
        assert written.pop("messageId") == event.message_id
        kept = call(former)
        assert written == {name: kept[name] for name in written} and len(kept) == len(written) + 2
