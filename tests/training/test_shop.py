"""The trainer on a shop with a known propensity: its models against the truth, and planted leaks."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from segops.core.errors import DefinitionError
from segops.core.training.decisions import Decision
from segops.core.training.periods import Periods, split
from segops.core.training.quality import auc, bins
from segops.core.training.report import Source, TrainingReport, trained
from segops.schemas.models import read_model
from segops.training.features import Features, load_features, read_features
from segops.training.making import foretelling
from segops.training.observer import Observer
from tests.rest import in_rest

from .helpers import DAY_MS, TASK, observer
from .shop import TASK as ORDERS
from .shop import Shop

SIZES = [(600, 40), in_rest(1_000, 50)]


@cache
def seen(customers: int, days: int) -> tuple[Shop, Observer]:
    """Return a shop, and an observer of all its events with the default features."""
    shop, found = Shop(customers=customers, days=days), observer(features=FEATURES, tasks=(ORDERS,))
    for profile, event in shop.events():
        found.event(profile, event)
    found.finish()
    return shop, found


FEATURES = load_features(None)


def made(
    found: Observer, features: Features = FEATURES, rows: list[Decision] | None = None
) -> TrainingReport:
    source = Source(
        "shop", features.inputs, features.figures, found.first_ms or 0, found.clock_ms, 0, features.forbid
    )
    return trained(ORDERS, list(found.decisions[0].known) if rows is None else rows, source, now_ms=0)


def with_truth(shop: Shop, found: Observer, report: TrainingReport) -> list[tuple[float, float, bool]]:
    """Return what the model foretold of held-out decisions, what was true, and what followed."""
    rows = list(found.decisions[0].known)
    foretell = foretelling(read_model(report.model, "shop"), found.inputs)
    assert foretell is not None
    begin = rows[0].at_ms
    cut = begin + (found.clock_ms - DAY_MS - begin) * 7 // 10
    held_out = split(rows, Periods(cut - DAY_MS, cut), DAY_MS).measured
    truth = [
        (foretell(each.vector), shop.truth(each.profile, each.at_ms), each.observed) for each in held_out
    ]
    return [(p, t, y) for p, t, y in truth if t is not None]


@pytest.mark.parametrize(("customers", "days"), SIZES)
def test_the_model_comes_near_the_truth(customers: int, days: int) -> None:
    shop, found = seen(customers, days)
    report = made(found)
    assert (report.status, report.reasons) == ("ready", [])
    rows = with_truth(shop, found, report)
    foretold, truth, observed = ([each[number] for each in rows] for number in range(3))
    best, got = auc(truth, observed), auc(foretold, observed)
    assert best is not None and got is not None
    assert best - got < 0.02, (got, best)
    curve = bins(foretold, [False] * len(foretold))
    ordered = sorted(rows)
    begin, missed = 0, 0.0
    for each in curve:
        part = ordered[begin : begin + each.count]
        begin += each.count
        missed += abs(each.predicted - sum(t for _, t, _ in part) / each.count) * each.count / len(rows)
    assert missed < 0.03, missed


def test_the_truth_is_what_happens() -> None:
    """The generator's own claim: shares of decisions with about equal truth."""
    shop, found = seen(180, 40)
    rows = [(shop.truth(e.profile, e.at_ms), e.observed) for e in found.decisions[0].known]
    known = [(t, y) for t, y in rows if t is not None]
    for low, high in ((0.0, 0.001), (0.2, 0.4), (0.4, 0.6), (0.6, 0.9)):
        part = [(t, y) for t, y in known if low <= t < high]
        assert len(part) > 50
        mean = sum(t for t, _ in part) / len(part)
        assert sum(y for _, y in part) / len(part) == pytest.approx(mean, abs=0.06)


def test_a_property_that_is_filled_in_afterwards_is_caught() -> None:
    """Views that were enriched with the order that they led to: the pipeline cannot know, the check can."""
    shop = Shop(customers=200, days=30)
    orders = {
        profile: [visit.order_ms for visit in visits if visit.order_ms is not None]
        for profile, visits in shop.visits.items()
    }
    features = read_features(
        {
            "features": [
                {"name": "views_24h", "figure": {"did": "Product Viewed", "within": "24h"}},
                {"name": "paid", "figure": {"latest": "paid", "as": "number", "of": "any_event"}},
            ]
        },
        "planted",
    )
    found = observer(features=features, tasks=(ORDERS,))
    for profile, event in shop.events():
        follows = any(event.time_ms < at_ms <= event.time_ms + DAY_MS for at_ms in orders[profile])
        event.properties["paid"] = int(follows)
        found.event(profile, event)
    found.finish()
    report = made(found, features)
    assert report.verdict == "refused" and report.model is None
    assert any("the feature paid" in leak or "perhaps paid" in leak for leak in report.leaks)


def test_forbidden_features_are_refused_by_name() -> None:
    raw: dict[str, Any] = {
        "features": [{"name": "sex", "figure": {"trait": "gender"}}],
        "forbid": ["trait.gender"],
    }
    with pytest.raises(DefinitionError) as refused:
        read_features(raw, "features.yaml")
    (issue,) = refused.value.issues
    assert (issue.source, issue.path) == ("features.yaml", "features[0].figure")
    assert "trait.gender" in issue.reason


def test_a_task_without_its_event_has_not_enough_data() -> None:
    _, found = seen(180, 40)
    rows = [Decision(e.profile, e.at_ms, e.mark, e.vector) for e in found.decisions[0].known]
    report = made(found, rows=rows)
    assert report.status == "not_enough_data" and "0 who did" in report.reasons[0]
    assert TASK.horizon_ms == ORDERS.horizon_ms
