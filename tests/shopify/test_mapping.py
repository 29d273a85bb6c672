"""What becomes of each topic; the results are events that the engine reads."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.core.features.orders import OrdersReducer, Purchases, statement_of
from segops.core.features.states import Orders
from segops.schemas.events import decode, route
from segops.shopify.orders import REFUND_SENT_MS
from segops.shopify.topics import IGNORED, MAPPED
from segops.shopify.values import Unreadable, encoded
from tests.rest import examples
from tests.shopify import payloads

NOW_MS = 1_790_000_000_000
USER = "115310627314723954"


def events(topic: str, payload: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for each in MAPPED[topic](payload):
        value = encoded({"timestamp": "2026-03-01T00:00:00Z", **each}, 32_768)
        routed = route(value, now_ms=NOW_MS, default_time_ms=None)
        decode(value, time_ms=routed.time_ms, default_id="none")
        found.append(json.loads(value))
    return found


def event(topic: str, payload: dict[str, Any]) -> dict[str, Any]:
    (found,) = events(topic, payload)
    return found


def external(found: dict[str, Any]) -> dict[str, str]:
    return {each["type"]: each["id"] for each in found["context"].get("externalIds", ())}


def test_created_order_is_completed() -> None:
    found = event("orders/create", payloads.order())
    assert (found["event"], found["userId"]) == ("Order Completed", USER)
    assert (found["messageId"], found["timestamp"]) == (
        "shopify:order:820982911946154001:completed",
        "2026-03-01T11:00:00.000Z",
    )
    assert found["context"]["traits"] == {"email": "ada@example.com"}
    assert external(found) == {"cart_token": "cart1", "checkout_token": "checkout1"}
    wanted = {
        "order_id": "820982911946154001",
        "order_name": "#1001",
        "revenue": 103.0,
        "currency": "EUR",
        "tax": 3.0,
        "shipping": 5.0,
        "discount": 5.0,
        "coupon": "TEN",
        "cart_id": "cart1",
        "checkout_id": "checkout1",
    }
    assert wanted.items() <= found["properties"].items()
    product = found["properties"]["products"][0]
    assert product == {
        "product_id": "788032119674292922",
        "variant_id": "808950810",
        "sku": "HAT-1",
        "name": "Hat",
        "brand": "Acme",
        "quantity": 2,
        "price": 49.0,
    }


def test_only_the_creation_of_an_order_completes_it() -> None:
    order = payloads.order()
    names = {
        topic: [each["event"] for each in events(topic, order)]
        for topic in MAPPED
        if topic.startswith("orders/")
    }
    assert names == {
        "orders/create": ["Order Completed"],
        "orders/paid": ["Order Paid"],
        "orders/updated": ["Order Updated"],
        "orders/cancelled": ["Order Cancelled"],
    }


def test_guest_is_known_by_the_address_of_the_order() -> None:
    found = event(
        "orders/create", payloads.order(customer=None, email="Guest@Example.com", contact_email=None)
    )
    assert "userId" not in found
    assert found["context"]["traits"] == {"email": "Guest@Example.com"}


@pytest.mark.parametrize("topic", [topic for topic in MAPPED if topic.startswith("orders/")])
def test_test_orders_are_no_events(topic: str) -> None:
    assert events(topic, payloads.order(test=True)) == []


def test_refund_comes_with_the_update_of_its_order() -> None:
    order = payloads.order(
        updated_at="2026-03-01T08:00:01-05:00", current_total_price="83.00", refunds=[payloads.refund()]
    )
    updated, refunded = events("orders/updated", order)
    assert updated["properties"]["revenue"] == 103.0  # before refunds
    assert (refunded["event"], refunded["messageId"]) == (
        "Order Refunded",
        "shopify:refund:890088186047892001",
    )
    assert refunded["timestamp"] == "2026-03-01T13:00:00.000Z"
    assert refunded["userId"] == USER
    wanted = {
        "order_id": "820982911946154001",
        "refund_id": "890088186047892001",
        "total": 20.0,
        "currency": "EUR",
    }
    assert wanted.items() <= refunded["properties"].items()
    assert refunded["properties"]["products"][0]["quantity"] == 1


def test_refund_in_the_currency_of_the_buyer_is_converted_at_the_rate_of_the_order() -> None:
    money = {"amount": "103.00", "currency_code": "EUR"}, {"amount": "1030.00", "currency_code": "NOK"}
    transactions = [{"kind": "refund", "status": "success", "amount": "205.00", "currency": "NOK"}]
    order = payloads.order(
        updated_at="2026-03-01T08:00:01-05:00",
        total_price_set=dict(zip(("shop_money", "presentment_money"), money, strict=True)),
        refunds=[payloads.refund(transactions=transactions)],
    )
    assert events("orders/updated", order)[1]["properties"]["total"] == 20.5


@pytest.mark.parametrize(
    "transactions",
    [
        [],
        [{"kind": "refund", "status": "failure", "amount": "5.00"}],
        [{"kind": "void", "status": "success", "amount": "5.00"}],
        [{"kind": "refund", "status": "success", "amount": "much"}],
    ],
)
def test_refund_that_returned_no_money_is_no_event(transactions: list[Any]) -> None:
    order = payloads.order(
        updated_at="2026-03-01T08:00:01-05:00", refunds=[payloads.refund(transactions=transactions)]
    )
    assert [each["event"] for each in events("orders/updated", order)] == ["Order Updated"]


def test_late_updates_do_not_repeat_a_refund() -> None:
    order = payloads.order(updated_at="2026-03-02T08:00:00-05:00", refunds=[payloads.refund()])
    assert [each["event"] for each in events("orders/updated", order)] == ["Order Updated"]
    assert REFUND_SENT_MS + 4 * 3_600_000 < 24 * 3_600_000  # retries of Shopify; the engine's memory of ids


def test_update_that_is_delivered_again_has_the_same_message_id_and_another_one_has_not() -> None:
    first, again, other = (
        event("orders/updated", payloads.order(current_total_price=total))
        for total in ("103.00", "103.00", "90.00")
    )
    assert first["messageId"] == again["messageId"] != other["messageId"]


def test_cancellation_names_order_and_reason() -> None:
    order = payloads.order(cancelled_at="2026-03-01T09:00:00-05:00", cancel_reason="customer")
    found = event("orders/cancelled", order)
    assert found["timestamp"] == "2026-03-01T14:00:00.000Z"
    assert {"order_id": "820982911946154001", "reason": "customer"}.items() <= found["properties"].items()


def test_order_of_many_items_keeps_its_amount() -> None:
    found = event("orders/create", payloads.order(line_items=[payloads.line()] * 1_000))
    assert found["properties"]["products_omitted"] == 1_000
    assert found["properties"]["revenue"] == 103.0


def test_customer_is_identified_with_traits() -> None:
    found = event("customers/update", payloads.customer(email_marketing_consent={"state": "subscribed"}))
    assert (found["type"], found["userId"], found["timestamp"]) == (
        "identify",
        USER,
        "2026-03-01T10:00:00.000Z",
    )
    assert found["traits"] == {
        "email": "ada@example.com",
        "firstName": "Ada",
        "lastName": "L",
        "createdAt": "2026-01-01T00:00:00-05:00",
        "address": {"street": "1 Road", "city": "Oslo", "postalCode": "0150", "country": "Norway"},
        "consent": {"email": True},
        "consent_email": True,
        "shopify": {"state": "enabled", "tags": "vip, hats"},
    }


def test_customer_without_consent_in_the_payload_keeps_it() -> None:
    assert "consent" not in event("customers/update", payloads.customer())["traits"]


@pytest.mark.parametrize(
    ("state", "given"),
    [
        ("subscribed", True),
        ("not_subscribed", False),
        ("pending", False),
        ("unsubscribed", False),
        ("redacted", False),
    ],
)
@pytest.mark.parametrize(
    ("channel", "topic"),
    [
        ("email", "customers_email_marketing_consent/update"),
        ("sms", "customers_marketing_consent/update"),
    ],
)
def test_consent_is_given_by_a_subscription_only(channel: str, topic: str, state: str, given: bool) -> None:
    found = event(topic, payloads.consent(channel, state))
    assert found["userId"] == USER
    assert found["traits"] == {"consent": {channel: given}, f"consent_{channel}": given}
    assert found["timestamp"] == "2026-03-01T10:30:00.000Z"


def test_deleted_and_redacted_customers_have_no_consent() -> None:
    deleted = event("customers/delete", {"id": int(USER)})
    none = {"consent": {"email": False, "sms": False}, "consent_email": False, "consent_sms": False}
    assert deleted["traits"] == {**none, "shopify": {"deleted": True}}
    redacted = event("customers/redact", payloads.redact())
    assert redacted["traits"] == {**none, "erasure_requested": True}
    assert (redacted["userId"], redacted["context"]["traits"]) == (USER, {"email": "ada@example.com"})


def test_no_other_webhook_passes_for_a_request_to_erase() -> None:
    with pytest.raises(Unreadable, match="orders_to_redact"):
        event("customers/redact", payloads.order())


def test_checkout_and_cart_lead_to_each_other_by_their_tokens() -> None:
    started = event("checkouts/create", payloads.checkout())
    updated = event("checkouts/update", payloads.checkout(completed_at="2026-03-01T06:00:00-05:00"))
    cart = event("carts/update", payloads.cart())
    assert (started["event"], updated["event"], cart["event"]) == (
        "Checkout Started",
        "Checkout Updated",
        "Cart Updated",
    )
    assert started["messageId"] == "shopify:checkout:checkout1:started"
    assert external(started) == {"cart_token": "cart1", "checkout_token": "checkout1"}
    assert external(cart) == {"cart_token": "cart1"}
    assert (started["properties"]["completed"], updated["properties"]["completed"]) == (False, True)
    assert (cart["properties"]["value"], cart["properties"]["products"][0]["quantity"]) == (59.97, 3)


@pytest.mark.parametrize("topic", sorted(MAPPED))
def test_payload_without_its_id_is_unreadable(topic: str) -> None:
    with pytest.raises(Unreadable):
        events(topic, {})


def test_no_topic_is_both_mapped_and_ignored() -> None:
    assert not MAPPED.keys() & IGNORED


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 10**19)
    | st.text(max_size=5)
    | st.sampled_from(["9.50", "2026-03-01"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@examples(50, of=1_000)
@given(topic=st.sampled_from(sorted(MAPPED)), data=st.data())
def test_odd_values_anywhere_make_events_or_are_unreadable(topic: str, data: st.DataObject) -> None:
    whole = {**payloads.order(refunds=[payloads.refund()]), **payloads.checkout(), **payloads.customer()}
    whole |= {**payloads.cart(), **payloads.consent("email", "subscribed"), **payloads.redact()}
    names = data.draw(st.lists(st.sampled_from(sorted(whole)), max_size=4))
    payload = {**whole, **{name: data.draw(values) for name in names}}
    try:
        for each in MAPPED[topic](payload):
            json.loads(encoded(each, 32_768))
    except Unreadable:
        pass


@examples(50, of=1_000)
@given(
    amounts=st.lists(st.integers(1, 2_000), max_size=4),
    edit=st.integers(-3_000, 3_000),
    order_of=st.randoms(use_true_random=False),
)
def test_net_revenue_is_the_present_total_of_the_shop_in_any_order_of_arrival(
    amounts: list[int], edit: int, order_of: Any
) -> None:
    """The shop's own figure is computed beside: total, edit and refunds."""
    gross, refunds, sent = 10_300 + edit, [], [("orders/create", payloads.order())]
    for number, cents in enumerate(amounts):
        at = f"2026-03-01T{12 + number}:00:00Z"
        refunds.append(payloads.refund(number, str(Decimal(cents) / 100), created_at=at, processed_at=at))
        present = str(Decimal(gross - sum(amounts[: number + 1])) / 100)
        sent.append(
            (
                "orders/updated",
                payloads.order(updated_at=at, current_total_price=present, refunds=list(refunds)),
            )
        )
    if not amounts:
        total = str(Decimal(gross) / 100)
        sent.append(
            ("orders/updated", payloads.order(updated_at="2026-03-01T12:00:00Z", current_total_price=total))
        )
    order_of.shuffle(sent)
    assert (
        net_of([each for topic, payload in sent * 2 for each in MAPPED[topic](payload)])
        == Decimal(gross - sum(amounts)) / 100
    )


def net_of(found: list[dict[str, Any]]) -> Decimal:
    reducer, state = OrdersReducer(Purchases(10**12)), None
    known: set[str] = set()
    for each in found:
        if each["messageId"] in known:
            continue
        known.add(each["messageId"])
        value = encoded(each, 32_768)
        time_ms = route(value, now_ms=NOW_MS, default_time_ms=None).time_ms
        statement = statement_of(decode(value, time_ms=time_ms, default_id="none"), "EUR")
        assert statement is not None
        added: Orders | None = reducer.add(state, time_ms, statement, NOW_MS)
        state = state if added is None else added
    return reducer.read(state, NOW_MS).net
