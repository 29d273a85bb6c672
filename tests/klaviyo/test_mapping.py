"""What becomes of metrics, orders, consent and identifiers; the results are events that the engine reads."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from segops.klaviyo.mapping import event_of, profile_of
from segops.klaviyo.pages import Account, EventItem, Identity, ProfileItem
from segops.schemas.events import decode, route
from tests.klaviyo.objects import add_event, add_profile
from tests.klaviyo.stand_in import StandIn

NOW_MS = 1_790_000_000_000
ADA = Identity(email="ada@example.com", phone_number="+491701234567", external_id="u1")


def event(metric: str, identity: Identity = ADA, **properties: Any) -> dict[str, Any]:
    raw = add_event(StandIn(), "E1", metric, "P1", NOW_MS, **properties)
    item = msgspec.convert(raw, EventItem)
    value = event_of(item, metric=metric, identity=identity, profile_id="P1", account=Account("A1", "EUR"))
    routed = route(value, now_ms=NOW_MS, default_time_ms=None)
    assert routed.time_ms == NOW_MS
    decode(value, time_ms=NOW_MS, default_id="none")
    return json.loads(value)


def profile(**attributes: Any) -> dict[str, Any]:
    raw = add_profile(StandIn(), "P1", NOW_MS, **attributes)
    return json.loads(profile_of(msgspec.convert(raw, ProfileItem)))


def test_placed_order_is_an_order_that_is_completed() -> None:
    items = [{"ProductID": "p1", "SKU": "s1", "ProductName": "Hat", "Quantity": 2, "ItemPrice": 10.5}]
    found = event("Placed Order", __value=21.0, __event_id="1001", Items=items, DiscountCode="TEN")
    assert (found["event"], found["messageId"], found["userId"]) == ("Order Completed", "klaviyo:E1", "u1")
    wanted = {
        "order_id": "1001",
        "revenue": 21.0,
        "value": 21.0,
        "currency": "EUR",
        "coupon": "TEN",
        "products": [{"product_id": "p1", "sku": "s1", "name": "Hat", "quantity": 2, "price": 10.5}],
    }
    assert wanted.items() <= found["properties"].items()


def test_refund_names_its_order_and_itself() -> None:
    found = event("Refunded Order", __value=5.0, __event_id="1700000000", OrderId=1001)
    wanted = {"order_id": "1001", "total": 5.0, "refund_id": "E1"}
    assert found["event"] == "Order Refunded"
    assert wanted.items() <= found["properties"].items()
    assert "revenue" not in found["properties"]


@pytest.mark.parametrize("spelling", ["Cancelled Order", "Canceled Order"])
def test_cancelled_order_is_one_event(spelling: str) -> None:
    found = event(spelling, __event_id="1001")
    assert (found["event"], found["properties"]["order_id"]) == ("Order Cancelled", "1001")


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        ("Opened Email", "Email Opened"),
        ("Clicked Email", "Email Link Clicked"),
        ("Bounced Email", "Email Bounced"),
        ("Unsubscribed from Email Marketing", "Unsubscribed"),
        ("Active on Site", "Active on Site"),
        ("Tried on a hat", "Tried on a hat"),
    ],
)
def test_known_metrics_have_the_names_of_the_specification_others_keep_theirs(metric: str, name: str) -> None:
    assert event(metric)["event"] == name


def test_viewed_product_keeps_its_properties_beside_the_translated_ones() -> None:
    found = event("Viewed Product", ProductID="p1", Categories=["Hats"], __extra={"large": 1})
    assert found["properties"] == {"product_id": "p1", "ProductID": "p1", "Categories": ["Hats"]}


def test_all_identifiers_of_a_profile_are_sent() -> None:
    found = event("Opened Email")
    assert found["context"]["traits"] == {"email": "ada@example.com", "phone": "+491701234567"}
    ids = [(each["type"], each["id"]) for each in found["context"]["externalIds"]]
    assert ids == [("klaviyo_id", "P1"), ("phone", "+491701234567")]
    bare = event("Opened Email", Identity())
    assert "userId" not in bare and bare["context"]["traits"] == {}


def marketing(consent: str, allowed: bool, reasons: tuple[str, ...] = ()) -> dict[str, Any]:
    suppression = [{"reason": each, "timestamp": "2026-01-01T00:00:00+00:00"} for each in reasons]
    written = {"consent": consent, "can_receive_email_marketing": allowed, "suppression": suppression}
    return {"email": {"marketing": written}}


@pytest.mark.parametrize(
    ("subscriptions", "given"),
    [
        (marketing("SUBSCRIBED", True), True),
        (marketing("NEVER_SUBSCRIBED", True), False),
        (marketing("UNSUBSCRIBED", False), False),
        (marketing("SUBSCRIBED", False, ("HARD_BOUNCE",)), False),
        (marketing("SUBSCRIBED", True, ("SPAM_COMPLAINT",)), False),
        ({"email": None}, False),
        (None, False),
    ],
)
def test_consent_is_given_only_by_a_subscription_that_nothing_suppresses(
    subscriptions: Any, given: bool
) -> None:
    consent = profile(subscriptions=subscriptions)["traits"]["consent"]
    assert consent == {"email": given, "sms": False, "push": False, "whatsapp": False}


def test_reasons_of_a_suppression_are_a_trait() -> None:
    traits = profile(subscriptions=marketing("SUBSCRIBED", False, ("HARD_BOUNCE",)))["traits"]
    said = {"consent": "SUBSCRIBED", "can_receive": False, "suppressions": ["HARD_BOUNCE"]}
    assert traits["klaviyo"] == {"email": said}


def test_each_channel_has_its_own_consent() -> None:
    written = {
        "sms": {"marketing": {"consent": "SUBSCRIBED", "can_receive_sms_marketing": True}},
        "mobile_push": {"marketing": {"consent": "SUBSCRIBED", "can_receive_push_marketing": True}},
        "whatsapp": {"marketing": {"consent": "SUBSCRIBED", "can_receive": True}},
    }
    consent = profile(subscriptions=written)["traits"]["consent"]
    assert consent == {"email": False, "sms": True, "push": True, "whatsapp": True}


def test_custom_properties_neither_identify_nor_consent() -> None:
    odd = {"email": "eve@example.com", "consent": {"email": True}, "hat_size": 58}
    traits = profile(email=None, subscriptions=None, properties=odd)["traits"]
    assert traits["hat_size"] == 58
    assert "email" not in traits and traits["consent"]["email"] is False


def test_profile_with_the_same_content_has_the_same_message_id() -> None:
    assert profile()["messageId"] == profile()["messageId"]
    assert profile()["messageId"] != profile(title="Dr")["messageId"]


def test_profile_has_the_time_of_its_update_and_its_place_on_earth() -> None:
    found = profile(location={"city": "Berlin", "zip": "10115", "latitude": "52.5", "longitude": 13.4})
    assert found["timestamp"] == "2026-09-21T14:13:20.000Z"
    assert found["traits"]["address"] == {"city": "Berlin", "postalCode": "10115"}
    assert found["context"]["location"] == {"latitude": 52.5, "longitude": 13.4}
