"""RFM digits and tiers change with orders, refunds and time."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from segops.core.errors import DefinitionError
from segops.core.features.orders import PurchaseTotals
from segops.core.scoring.rfm import Digits, Rfm
from segops.core.skips import Skip
from segops.schemas.segments import definition_from_record, definition_to_record, load, load_checked
from segops.testing import Customer, Flip

from .helpers import MONDAY, issues_of

T = MONDAY
DAY = 86_400_000
TIERS = {tier: {"rfm": tier} for tier in ("new", "champions", "at_risk", "hibernating", "about_to_sleep")}


def _order(customer: Customer, time_ms: int, number: int, revenue: float = 60, **more: Any) -> list[Flip]:
    return customer.did("Order Completed", time_ms, order_id=f"o{number}", revenue=revenue, **more)


def test_tiers_change_with_orders_and_by_time_alone() -> None:
    customer = Customer(**TIERS)
    assert _order(customer, T, 0) == [Flip("entered", "new", T)]
    for number in range(1, 6):
        _order(customer, T + number, number)
    assert customer.member_of == {"champions"}
    last = T + 5
    assert customer.wait(last + 30 * DAY - 1) == []
    assert customer.wait(last + 30 * DAY) == [Flip("exited", "champions", last + 30 * DAY)]
    assert customer.wait(last + 120 * DAY) == [Flip("entered", "at-risk", last + 120 * DAY)]
    # Frequency falls from six to none as orders leave the period of 365 days.
    changes = customer.wait(last + 366 * DAY)
    assert [(edge.action, edge.segment) for edge in changes] == [
        ("exited", "at-risk"),
        ("entered", "hibernating"),
    ]


def test_profile_without_orders_has_no_digits() -> None:
    customer = Customer(
        low={"rfm": {"recency": {"gte": 1}}}, none={"not": {"rfm": {"frequency": {"gte": 1}}}}
    )
    customer.did("page", T)
    assert customer.member_of == {"none"}


def test_refund_subtracts_its_amount_once() -> None:
    customer = Customer(rich={"rfm": {"monetary": {"gte": 3}}})
    assert _order(customer, T, 1, 101) == [Flip("entered", "rich", T)]
    refund = {"order_id": "o1", "refund_id": "r1", "total": 2}
    assert customer.did("Order Refunded", T + 1, **refund) == [Flip("exited", "rich", T + 1)]
    assert _order(customer, T + 2, 2, 1.5) == [Flip("entered", "rich", T + 2)]
    assert customer.did("Order Refunded", T + 3, **refund) == []


def test_refund_that_arrives_before_its_order_counts() -> None:
    customer = Customer(rich={"rfm": {"monetary": {"gte": 3}}})
    customer.did("Order Refunded", T + 5, order_id="o1", total=50)
    assert _order(customer, T, 1, 120) == []


def test_duplicate_order_counts_once() -> None:
    customer = Customer(twice={"rfm": {"frequency": {"gte": 2}}})
    _order(customer, T, 1)
    assert _order(customer, T + 1, 1) == []
    assert _order(customer, T + 2, 2) == [Flip("entered", "twice", T + 2)]


def test_edge_belongs_to_the_lower_monetary_digit_and_ends_the_higher_recency_digit() -> None:
    rfm = Rfm()
    assert rfm.value(PurchaseTotals(0, 1, Decimal(50)), 30 * DAY - 1) == Digits(5, 1, 1)
    assert rfm.value(PurchaseTotals(0, 2, Decimal("50.01")), 30 * DAY) == Digits(4, 2, 2)


def test_default_grid_covers_every_cell_once_without_dead_tiers() -> None:
    assert Rfm().holes() == [] and Rfm().dead_tiers() == []
    cells = [
        name
        for name, r_low, r_high, f_low, f_high in Rfm().tiers
        for _ in range((r_high - r_low + 1) * (f_high - f_low + 1))
    ]
    assert len(cells) == 25


BLOCK = """
version: 1
rfm:
  currency: EUR
  period: 90d
  recency: [10d, 20d]
  frequency: [1]
  monetary: [100.50]
  tiers:
    good: {recency: [2, 3], frequency: [1, 2]}
    better: {recency: [3, 3], frequency: [2, 2]}
segments:
  - key: good
    when: {rfm: good}
  - key: rich
    when: {rfm: {monetary: 2}}
  - key: plain
    when: {did: A}
"""


def _loaded(tmp_path: Path, text: str = BLOCK) -> Path:
    file = tmp_path / "rfm.yaml"
    file.write_text(text)
    return file


def test_edges_and_grid_of_a_file_are_stored_in_its_definitions(tmp_path: Path) -> None:
    file = _loaded(tmp_path)
    definitions = load([file])
    records = [definition_from_record(definition_to_record(definition)) for definition in definitions]
    assert [d.identity for d in definitions] == [d.identity for d in records if d is not None]
    assert [definition.rfm is not None for definition in definitions] == [True, True, False]
    customer = Customer.from_files(file)
    _order(customer, T, 1, 100.5, currency="EUR")
    assert customer.member_of == {"good"}
    dollars = customer.send("Order Completed", T + 1, order_id="o2", revenue=1_000, currency="USD")
    assert dollars.skipped == [Skip("Order Completed", "currency", "other_currency")]
    assert customer.member_of == {"good"}
    _order(customer, T + 2, 3, 0.01)
    assert customer.member_of == {"good", "rich"}


def test_dead_tiers_and_gaps_are_warned_about(tmp_path: Path) -> None:
    reasons = [warning.reason for warning in load_checked([_loaded(tmp_path)]).warnings]
    assert reasons == [
        "better is unreachable: earlier tiers take all its cells",
        "digits in no tier: recency 1 frequency 1, recency 1 frequency 2",
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("recency: [20d, 10d]", "rfm.recency: expected each edge to be above the previous one"),
        ("frequency: []", "rfm.frequency: expected a list of 1 to 9 edges"),
        ("frequency: [1.5]", "rfm.frequency: expected an integer of at least 0"),
        ("monetary: [x]", "rfm.monetary: expected a number"),
        (
            "currency: euro",
            "rfm.currency: expected a currency code of three capitals, such as EUR, got 'euro'",
        ),
        ("period: 0d", "rfm.period: expected a duration above 0"),
        ("edges: []", "rfm.edges: unknown key"),
        (
            "tiers: {a: {recency: [1, 9], frequency: [1, 1]}}",
            "rfm.tiers: a.recency: expected the lowest and the highest digit",
        ),
    ],
)
def test_invalid_rfm_block_is_rejected_with_the_reason(tmp_path: Path, line: str, message: str) -> None:
    text = f"version: 1\nrfm:\n  {line}\nsegments:\n  - key: plain\n    when: {{did: A}}\n"
    with pytest.raises(DefinitionError) as refused:
        load([_loaded(tmp_path, text)])
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"rfm": "champion"}, "when.rfm: unknown tier 'champion'; expected one of hibernating"),
        ({"rfm": []}, "when.rfm: expected a tier or a non-empty list of tiers"),
        (
            {"rfm": {"money": 3}},
            "when.rfm: expected a tier, or a map with any of recency, frequency, monetary",
        ),
        ({"rfm": {"recency": {"gte": 2.5}}}, "when.rfm.recency.gte: expected an integer"),
        ({"rfm": "new", "within": "1d"}, "when.within: unknown key"),
    ],
)
def test_invalid_rfm_node_is_rejected_with_the_reason(rule: dict[str, Any], message: str) -> None:
    found = issues_of(rule)
    assert any(issue.startswith(f"f: {message}") for issue in found), found
