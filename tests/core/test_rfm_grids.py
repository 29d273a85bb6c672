"""Named grids of RFM over any events, tiers that depend on monetary, and presets."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from itertools import product
from typing import Any

import pytest

from segops.core.engine import Engine
from segops.core.errors import DefinitionError
from segops.core.rules.analysis import lint_rfm
from segops.core.rules.model import identity
from segops.core.rules.parsing import Context, read_grids, read_rfm, read_rule
from segops.core.scoring.rfm import Digits
from segops.core.scoring.rfm_presets import PRESETS
from segops.core.segments import SegmentSet
from segops.core.skips import Skip
from segops.schemas.segments import definition_from_record, definition_to_record, inline
from segops.testing import Customer, Flip

from .helpers import MONDAY

T = MONDAY
DAY = 86_400_000
OPENS = {
    "opens": {
        "of": ["Application Opened", "Application Installed"],
        "where": {"app": "shop"},
        "value": "session.seconds",
        "period": "30d",
        "recency": ["1d", "7d"],
        "frequency": [1, 3],
        "monetary": [60],
        "tiers": {
            "daily": {"recency": [3, 3], "frequency": [2, 3]},
            "gone": {"recency": [1, 1], "frequency": [1, 3]},
        },
    }
}


def _customer(**rules: Any) -> Customer:
    customer = Customer()
    segments = [{"key": key, "when": rule} for key, rule in rules.items()]
    customer.engine = Engine(SegmentSet(inline(segments, "f", "segments", rfm=OPENS)))
    return customer


def _opened(customer: Customer, time_ms: int, **properties: Any) -> list[Flip]:
    return customer.did("Application Opened", time_ms, **{"app": "shop", **properties})


def test_grid_counts_any_event_of_its_names() -> None:
    customer = _customer(daily={"rfm": {"grid": "opens", "tier": "daily"}})
    assert _opened(customer, T) == []
    assert customer.did("Application Installed", T + 1, app="shop") == [Flip("entered", "daily", T + 1)]
    assert customer.wait(T + 1 + DAY) == [Flip("exited", "daily", T + 1 + DAY)]


def test_grid_reads_only_events_that_satisfy_its_conditions() -> None:
    customer = _customer(twice={"rfm": {"grid": "opens", "frequency": {"gte": 2}}})
    _opened(customer, T)
    assert _opened(customer, T + 1, app="other") == []
    assert _opened(customer, T + 2) == [Flip("entered", "twice", T + 2)]


def test_amounts_add_up_in_the_period() -> None:
    customer = _customer(long={"rfm": {"grid": "opens", "monetary": 2}})
    assert _opened(customer, T, session={"seconds": 50}) == []
    assert _opened(customer, T + 1) == []
    assert _opened(customer, T + 2, session={"seconds": 10.5}) == [Flip("entered", "long", T + 2)]
    assert customer.wait(T + 30 * DAY) == [Flip("exited", "long", T + 30 * DAY)]


def test_recency_outlives_the_period() -> None:
    customer = _customer(gone={"rfm": {"grid": "opens", "tier": ["gone"]}})
    _opened(customer, T)
    assert customer.wait(T + 7 * DAY) == [Flip("entered", "gone", T + 7 * DAY)]
    assert customer.wait(T + 90 * DAY) == []


def test_event_whose_amount_is_no_number_is_skipped() -> None:
    customer = _customer(any={"rfm": {"grid": "opens", "recency": {"gte": 1}}})
    result = customer.send("Application Opened", T, app="shop", session={"seconds": "long"})
    assert customer.member_of == set()
    assert list(result.skipped) == [Skip("Application Opened", "session.seconds", "text")]


def test_orders_and_grids_are_told_apart() -> None:
    customer = _customer(orders={"rfm": {"frequency": 1}}, opens={"rfm": {"grid": "opens", "frequency": 1}})
    _opened(customer, T)
    assert customer.member_of == {"opens"}
    customer.did("Order Completed", T + 1, order_id="a", revenue=5)
    assert customer.member_of == {"opens", "orders"}


def test_figures_name_a_grid() -> None:
    compare = {"compare": [{"rfm": "frequency", "grid": "opens"}, "gt", {"rfm": "frequency"}]}
    customer = _customer(
        more=compare, daily={"compare": [{"rfm": "tier", "grid": "opens"}, "eq", {"trait": "tier"}]}
    )
    customer.did("Order Completed", T, order_id="a", revenue=5)
    _opened(customer, T + 1)
    assert _opened(customer, T + 2) == [Flip("entered", "more", T + 2)]
    assert customer.did("identify", T + 3, traits={"tier": "daily"}) == [Flip("entered", "daily", T + 3)]


def test_hysteresis_of_a_grid() -> None:
    sides = {"enter": {"grid": "opens", "tier": "daily"}, "exit": {"grid": "opens", "recency": 1}}
    customer = _customer(keen={"rfm": sides})
    _opened(customer, T)
    assert _opened(customer, T + 1) == [Flip("entered", "keen", T + 1)]
    assert customer.wait(T + 1 + 7 * DAY) == [Flip("exited", "keen", T + 1 + 7 * DAY)]


def test_published_record_keeps_its_grid() -> None:
    (definition,) = inline(
        [{"key": "s", "when": {"rfm": {"grid": "opens", "tier": "daily"}}}], "f", "segments", rfm=OPENS
    )
    read = definition_from_record(definition_to_record(definition))
    assert read is not None and read.when == definition.when and read.identity == definition.identity


def test_grid_is_part_of_the_meaning() -> None:
    def rule(**changed: Any) -> str:
        context = Context()
        context.grids = read_grids({"opens": {**OPENS["opens"], **changed}}, "rfm", context)
        return identity(read_rule({"rfm": {"grid": "opens", "recency": 2}}, "when", context))

    assert rule() == rule()
    assert len({rule(), rule(of="A"), rule(value="x"), rule(where={"app": "x"}), rule(period="1d")}) == 5


def test_rules_without_new_keys_keep_their_identity() -> None:
    node = read_rule({"rfm": "new"}, "when", Context())
    # The identity that such a rule has in the logs of earlier versions.
    assert identity(node) == "5f708b78ac57c6c2307846b98d3a888e882035ba8a259eca98be5f717897f046"


MISTAKES = {
    "unknown grid": (
        OPENS,
        {"rfm": {"grid": "open", "tier": "daily"}},
        "unknown grid 'open'; expected one of opens",
    ),
    "no grid": (None, {"rfm": {"grid": "opens", "tier": "new"}}, "unknown grid 'opens'; the file names none"),
    "tier of another grid": (OPENS, {"rfm": {"grid": "opens", "tier": "new"}}, "unknown tier 'new'"),
    "tier and digit": (OPENS, {"rfm": {"grid": "opens", "tier": "daily", "recency": 1}}, "unknown key"),
    "two grids": (
        OPENS,
        {"rfm": {"enter": {"grid": "opens", "recency": 3}, "exit": {"recency": 1}}},
        "expected one grid in enter and exit",
    ),
    "no events": ({"opens": {"frequency": [1]}}, {"did": "A"}, "a grid without of"),
    "bad name": ({"Opens": {"of": "A"}}, {"did": "A"}, "expected a name of at most 64"),
    "timed condition": (
        {"opens": {"of": "A", "where": {"p": {"in_last": "1d"}}}},
        {"did": "A"},
        "operators that depend on now",
    ),
    "unknown word": (
        {"recency": "sextiles"},
        {"did": "A"},
        "expected one of terciles, quartiles, quintiles, deciles",
    ),
    "unknown preset": ({"preset": "braze"}, {"did": "A"}, "unknown preset 'braze'"),
    "digit beyond": (
        {"monetary": [1], "tiers": {"a": {"recency": [1, 5], "frequency": [1, 5], "monetary": [1, 3]}}},
        {"did": "A"},
        "a.monetary: expected the lowest and the highest digit, from 1 to 2",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_refused(name: str) -> None:
    rfm, rule, reason = MISTAKES[name]
    with pytest.raises(DefinitionError) as raised:
        inline([{"key": "s", "when": rule}], "f", "segments", rfm=rfm)
    assert reason in str(raised.value)


def test_tier_may_be_several_boxes_with_digits_of_monetary() -> None:
    block = {
        "tiers": {
            "rich": [
                {"recency": [1, 5], "frequency": [1, 1], "monetary": [5, 5]},
                {"recency": [5, 5], "frequency": [2, 5], "monetary": [4, 5]},
            ],
            "rest": {"recency": [1, 5], "frequency": [1, 5]},
        }
    }
    rfm = read_rfm(block, "rfm", Context())
    found = {
        each: rfm.tier(each) for each in (Digits(1, 1, 5), Digits(5, 3, 4), Digits(1, 1, 4), Digits(4, 2, 5))
    }
    assert list(found.values()) == ["rich", "rich", "rest", "rest"]
    assert rfm.tier_names == ["rich", "rest"] and lint_rfm(rfm) == []
    del block["tiers"]["rest"]
    assert "recency 1 frequency 1 monetary 1" in lint_rfm(read_rfm(block, "rfm", Context()))[0]


@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_divides_all_cells_among_all_its_tiers(name: str) -> None:
    context = Context()
    rfm = read_rfm({"preset": name}, "rfm", context)
    assert lint_rfm(rfm) == []
    groups = PRESETS[name].groups
    assert [rfm.greatest(each) for each in ("recency", "frequency", "monetary")] == [groups] * 3
    assert len(list(rfm.cells())) == groups**3
    assert "not measured yet" in str(context.warnings[0])


def test_preset_of_shopify_follows_the_mean_of_frequency_and_monetary() -> None:
    rfm = read_rfm({"preset": "shopify"}, "rfm", Context())
    for recency, frequency, monetary in product(range(1, 6), repeat=3):
        mean = (frequency + monetary) // 2
        expected = {
            5: {1: "new", 2: "active", 3: "active"},
            4: {1: "promising", 2: "active", 3: "active", 4: "loyal", 5: "loyal"},
            3: {1: "promising", 2: "needs_attention", 3: "needs_attention", 4: "loyal", 5: "loyal"},
        }
        lost = {1: "dormant", 2: "almost_lost", 3: "at_risk", 4: "at_risk", 5: "previously_loyal"}
        wanted = expected.get(recency, lost).get(mean, "champions")
        assert rfm.tier(Digits(recency, frequency, monetary)) == wanted
    assert len(rfm.tier_names) == 10


def test_preset_of_klaviyo_names_its_documented_scores() -> None:
    rfm = read_rfm({"preset": "klaviyo"}, "rfm", Context())
    loyal = [Digits(*map(int, score)) for score in ("321", "322", "331", "232", "233")]
    assert {rfm.tier(each) for each in loyal} == {"loyal"}
    assert rfm.tier(Digits(3, 3, 3)) == "champions" and rfm.tier(Digits(1, 1, 1)) == "inactive"
    counted = Counter(rfm.tier(each) for each in rfm.cells())
    assert len(counted) == 6 and sum(counted.values()) == 27


def test_keys_beside_a_preset_take_the_place_of_its_own() -> None:
    rfm = read_rfm({"preset": "five_by_five", "monetary": [10], "currency": "EUR"}, "rfm", Context())
    assert rfm.monetary == (Decimal(10),) and rfm.purchases.currency == "EUR"
    assert rfm.greatest("recency") == 5 and rfm.greatest("monetary") == 2
