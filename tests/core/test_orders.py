"""Orders: each order, refund and cancellation counts once, in any order of arrival."""

from __future__ import annotations

from decimal import Decimal
from itertools import permutations
from typing import Any

import msgspec
import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from segops.core.events import Event
from segops.core.features import UNREADABLE, Feature, extractor
from segops.core.features.orders import (
    MAX_ORDERS,
    ORDER_NAMES,
    OrdersReducer,
    OrderStatement,
    Purchases,
    PurchaseTotals,
)
from segops.core.features.states import Order, Orders
from segops.core.rules.reference import History, figures
from segops.core.values import MAX_MS
from segops.core.windows import ALWAYS
from segops.schemas.state import packed
from tests.rest import examples

from .helpers import MONDAY as T
from .helpers import D, S
from .strategies import purchases

PERIOD = 10 * D


class Shop:
    """The orders of one customer in a period, as events arrive."""

    def __init__(self, period_ms: int = PERIOD, currency: str | None = None) -> None:
        self.purchases = Purchases(period_ms, currency)
        self.reducer = OrdersReducer(self.purchases)
        self.extract = extractor(Feature("orders", ORDER_NAMES, (), ALWAYS, purchases=self.purchases))
        self.state: Orders | None = None
        self.history = History()
        self.now_ms = -MAX_MS

    def did(self, name: str, time_ms: int, *, id: str | None = None, **properties: Any) -> Any:
        """Apply an event ``Order {name}``; return the value extracted from it."""
        event = Event(f"Order {name}", time_ms, id or f"m{len(self.history.events)}", properties)
        return self.take(event, time_ms)

    def take(self, event: Event, now_ms: int) -> Any:
        assert self.extract is not None
        self.now_ms = max(self.now_ms, now_ms, event.time_ms)
        self.history.add(event, self.now_ms)
        value = self.extract(event)
        if value is not None and value is not UNREADABLE:
            self.state = self.reducer.add(self.state, event.time_ms, value, self.now_ms) or self.state
        return value

    def totals(self, now_ms: int | None = None) -> PurchaseTotals:
        """Return the totals, after comparing them with the reference."""
        now_ms = self.now_ms if now_ms is None else now_ms
        found = self.reducer.read(self.state, now_ms)
        assert found == figures(
            self.history, now_ms, period_ms=self.purchases.period_ms, currency=self.purchases.currency
        )
        return found

    @property
    def net(self) -> Decimal:
        return self.totals().net


@st.composite
def deals(draw: Any) -> list[tuple[Event, int]]:
    """Draw order events with the clock at their arrival: in order, late, and simultaneous."""
    found, at = [], T
    for number in range(draw(st.integers(1, 14))):
        at += draw(st.sampled_from([0, 1, 1_000, 4_000, 9_000, 20_000]))
        time_ms = at - draw(st.sampled_from([0, 0, 0, 0, 1, 3_000, 19_999, 20_000, 30_000]))
        name = draw(st.sampled_from(["Order Completed", "Order Completed", *ORDER_NAMES]))
        event = Event(name, time_ms, f"m{number}", draw(purchases(("o1", "o1", "o1", "o2", None))))
        found.append((event, draw(st.sampled_from([at, time_ms]))))
    return found


@examples(100, of=400)
@given(deals())
def test_orders_agree_with_the_reference(events: list[tuple[Event, int]]) -> None:
    shop = Shop(20_000)
    for event, now_ms in events:
        note(f"{event.name} {event.time_ms - T} {event.properties}")
        shop.take(event, now_ms)
        series = list(shop.reducer.future(shop.state, shop.now_ms))
        assert [value for _, value in series] == [shop.totals(at) for at, _ in series]
        for later_ms in (5_000, 20_000, 40_000):
            shop.totals(shop.now_ms + later_ms)


def test_cancellation_expires_with_its_order_however_late() -> None:
    for arrives_ms in (T - 20_000, T + 1):
        shop = Shop(20_000)
        order = Event("Order Completed", T - 19_999, "m1", {"order_id": "X", "total": 5})
        cancellation = Event("Order Cancelled", T, "m0", {"order_id": "X"})
        for event in sorted((order, cancellation), key=lambda event: event is order and arrives_ms > T):
            shop.take(event, max(event.time_ms, arrives_ms if event is order else T))
        shop.did("Completed", T + 1, order_id="X", total=7)
        assert shop.totals() == PurchaseTotals(T + 1, 1, Decimal(7))


def test_expired_order_does_not_hide_a_new_one_with_the_same_id() -> None:
    shop = Shop()
    shop.did("Completed", T, order_id="X", total=5)
    shop.did("Completed", T + 20 * D, order_id="X", total=7)
    assert shop.totals() == PurchaseTotals(T + 20 * D, 1, Decimal(7))


@pytest.mark.parametrize(("later", "orders"), [(PERIOD - 1, 1), (PERIOD, 1), (PERIOD + 1, 1)])
def test_order_id_is_a_duplicate_until_the_order_expires(later: int, orders: int) -> None:
    shop = Shop()
    shop.did("Completed", T, order_id="X", total=5)
    shop.did("Completed", T + later, order_id="X", total=7)
    new = later >= PERIOD
    assert shop.totals() == PurchaseTotals(T + later if new else T, orders, Decimal(7 if new else 5))


def test_updates_of_an_expired_order_do_not_apply_to_a_new_one_with_the_same_id() -> None:
    shop = Shop()
    shop.did("Completed", T, order_id="X", total=5)
    shop.did("Refunded", T + 8 * D, order_id="X", total=1)
    shop.did("Cancelled", T + 9 * D, order_id="X")
    shop.did("Completed", T + 12 * D, order_id="X", total=7)
    assert shop.totals() == PurchaseTotals(T + 12 * D, 1, Decimal(7))


def test_earlier_of_two_events_of_an_order_wins_in_any_order_of_arrival() -> None:
    for order in ((0, 5), (5, 0)):
        shop = Shop()
        for day in order:
            shop.did("Completed", T + day * D, order_id="X", total=10 + day)
        assert shop.totals() == PurchaseTotals(T, 1, Decimal(10))


REFUND, WHOLE = ("Refunded", {"total": 15}), ("Refunded", {})
UPDATE, CANCEL = ("Updated", {"total": 80}), ("Cancelled", {})


@pytest.mark.parametrize(
    ("updates", "net"),
    [
        ([REFUND], 35),
        ([REFUND, REFUND], 20),
        ([REFUND, WHOLE], 0),
        ([WHOLE, REFUND], 0),
        ([REFUND] * 4, 0),
        ([("Refunded", {"total": 0})], 50),
        ([("Refunded", {"total": -15})], 35),
        ([("Refunded", {"total": None})], 0),
        ([UPDATE], 80),
        ([UPDATE, REFUND], 65),
        ([REFUND, UPDATE], 65),
        ([UPDATE, WHOLE], 0),
        ([WHOLE, UPDATE], 30),  # 50 remained at the refund
        ([UPDATE, ("Updated", {"revenue": 20, "total": 99})], 20),
        ([("Updated", {})], 50),
        ([CANCEL], None),
        ([CANCEL, UPDATE], None),
        ([UPDATE, CANCEL, REFUND], None),
    ],
    ids=str,
)
@pytest.mark.parametrize("late", [False, True])
def test_net_revenue_of_an_order(
    updates: list[tuple[str, dict[str, Any]]], net: int | None, late: bool
) -> None:
    events = [("Completed", {"total": 50}), *updates]
    arrivals = list(enumerate(events))
    shop = Shop()
    for number, (name, properties) in arrivals[::-1] if late else arrivals:
        shop.did(name, T + number * S, order_id="X", **properties)
    known = PurchaseTotals(None, 0, Decimal(0)) if net is None else PurchaseTotals(T, 1, Decimal(net))
    assert shop.totals() == known


@pytest.mark.parametrize("amounts", [(15, 15), (None, None), (15, None)])
def test_refund_counts_once_per_id(amounts: tuple[Any, Any]) -> None:
    shop = Shop()
    shop.did("Completed", T, order_id="X", total=50)
    for number, amount in enumerate(amounts, 1):
        shop.did("Refunded", T + number, order_id="X", refund_id="r1", total=amount)
    assert shop.net == (0 if amounts[0] is None else 35)
    shop.did("Refunded", T + 3, order_id="X", refund_id="r2", total=5)
    assert shop.net == (0 if amounts[0] is None else 30)


@pytest.mark.parametrize("arrivals", list(permutations(range(3))))
@pytest.mark.parametrize(
    ("refunds", "net"),
    [
        ([(1, None), (1, 0), (2, 7)], 50),  # simultaneous: a stated amount wins
        ([(1, 5), (1, -8), (1, None)], 42),  # simultaneous: the greater wins
        ([(2, 30), (1, 10), (3, None)], 40),  # the earliest wins
        ([(1, None), (2, 10), (3, 20)], 0),
        ([(-9 * D, 30), (-10 * D, 10), (1, 20)], 20),  # an expired refund replaces no other
    ],
)
def test_winning_refund_of_an_id_does_not_depend_on_arrival(
    refunds: list[tuple[int, Any]], net: int, arrivals: tuple[int, ...]
) -> None:
    shop = Shop()
    shop.did("Completed", T, order_id="X", total=50)
    for number in arrivals:
        later_ms, amount = refunds[number]
        shop.did("Refunded", T + later_ms, order_id="X", refund_id="r1", total=amount)
    assert shop.net == net


def test_refund_without_an_id_counts_once_per_message_id_even_beyond_deduplication() -> None:
    shop = Shop()
    shop.did("Completed", T, order_id="X", total=50)
    for _ in range(2):
        assert shop.extract is not None
        value = shop.extract(Event("Order Refunded", T + 1, "same", {"order_id": "X", "total": 15}))
        shop.reducer.add(shop.state, T + 1, value, T + 9 * D)
    assert shop.reducer.read(shop.state, T + 9 * D).net == 35


def test_same_refund_id_of_two_orders_is_two_refunds() -> None:
    shop = Shop()
    for order in ("X", "Y"):
        shop.did("Completed", T, order_id=order, total=50)
        shop.did("Refunded", T + 1, order_id=order, refund_id="1", total=10)
    assert shop.net == 80


def test_cancelled_order_is_not_the_last_order() -> None:
    shop = Shop()
    shop.did("Completed", T, order_id="X", total=50)
    shop.did("Completed", T + D, order_id="Y", total=20)
    shop.did("Cancelled", T + 2 * D, order_id="Y")
    assert shop.totals() == PurchaseTotals(T, 1, Decimal(50))
    shop.did("Completed", T + 11 * D, order_id="Z", total=1)
    shop.did("Cancelled", T + 11 * D, order_id="Z")
    assert shop.totals() == PurchaseTotals(
        T, 0, Decimal(0)
    )  # X has left the period and is still the last order


def test_order_outside_the_period_cannot_be_cancelled() -> None:
    shop = Shop()
    shop.did("Completed", T, order_id="X", total=50)
    shop.did("Cancelled", T + PERIOD, order_id="X")
    assert shop.totals() == PurchaseTotals(T, 0, Decimal(0))


@pytest.mark.parametrize(
    "updates", [{"name": "Refunded", "total": 5}, {"name": "Updated", "total": 5}, {"name": "Cancelled"}]
)
def test_event_without_an_order_id_changes_nothing(updates: dict[str, Any]) -> None:
    shop = Shop()
    shop.did("Completed", T, total=50)
    assert shop.did(**updates, time_ms=T + 1) is None
    assert shop.totals() == PurchaseTotals(T, 1, Decimal(50))


def test_unreadable_amounts_are_counted_and_still_cancel() -> None:
    shop = Shop(currency="EUR")
    shop.did("Completed", T, order_id="X", total=50, currency="EUR")
    for name in ("Refunded", "Updated"):
        assert shop.did(name, T + 1, order_id="X", total=5, currency="USD") is UNREADABLE
        assert shop.did(name, T + 1, order_id="X", total="5", currency="EUR") is UNREADABLE
    assert shop.net == 50
    shop.did("Cancelled", T + 2, order_id="X", total="5", currency="USD")
    assert shop.totals().orders == 0


def test_whole_number_ids_are_equal_in_every_spelling() -> None:
    shop = Shop()
    shop.did("Completed", T, order_id=7, total=50)
    for number, order_id in enumerate((7.0, "7", 7)):
        shop.did("Refunded", T + number, order_id=order_id, refund_id=number, total=10)
    assert shop.net == 20


def test_refund_does_not_change_a_negative_order() -> None:
    shop = Shop()
    shop.did("Completed", T, order_id="X", total=-5)
    shop.did("Refunded", T + 1, order_id="X", total=3)
    assert shop.net == -5


def test_stored_order_updates_are_bounded() -> None:
    rows = [Order(T + number, f"o{number}", Decimal(1), number + 1) for number in range(MAX_ORDERS)]
    state: Orders | None = Orders(-MAX_MS, [], rows, -MAX_MS)
    state = OrdersReducer(Purchases(PERIOD)).add(
        state, T + D, OrderStatement("refunds", "X", Decimal(1), 7), T + D
    )
    assert state is not None
    assert (len(state.refunds), state.refunds[0].order_id, state.refunds[-1].order_id) == (4_096, "o1", "X")


# -- states of earlier versions ------------------------------------------------------------------------


def former(last_ms: int, orders: list[Order], refunds: list[Order]) -> Shop:
    """Return a state with the fields of its first version, as stored."""
    short = [9, last_ms, *([[o.time_ms, o.order_id, o.amount] for o in rows] for rows in (orders, refunds))]
    shop = Shop()
    shop.state = msgspec.msgpack.decode(packed(short), type=Orders)
    return shop


def test_state_of_an_earlier_version_is_continued() -> None:
    orders = [Order(T, "X", Decimal(50)), Order(T + D, "Y", Decimal(20))]
    shop = former(T + D, orders, [Order(T + 1, "X", Decimal(15))])
    assert shop.reducer.read(shop.state, T + D) == PurchaseTotals(T + D, 2, Decimal(55))
    shop.did("Refunded", T + D, order_id="X", total=5)
    shop.did("Cancelled", T + 2 * D, order_id="Y")
    assert shop.reducer.read(shop.state, T + 2 * D) == PurchaseTotals(T, 1, Decimal(30))


def test_last_order_that_an_earlier_version_dropped_stays_the_last() -> None:
    shop = former(T, [], [])
    shop.did("Completed", T + 20 * D, order_id="Y", total=20)
    shop.did("Cancelled", T + 21 * D, order_id="Y")
    assert shop.reducer.read(shop.state, T + 21 * D) == PurchaseTotals(T, 0, Decimal(0))
