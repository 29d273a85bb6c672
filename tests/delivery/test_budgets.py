"""Reservations: what is granted never exceeds a limit, in any span, for any process."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from segops.core.audiences.budgets import LEAST_EXITS, Budgets, Reservation, paced, rate_of
from segops.core.audiences.model import (
    Act,
    Audience,
    AudienceRecord,
    Limits,
    Rate,
    Reach,
    ReachPlan,
    Step,
)

RATE = Rate(10, 100)


def asked(
    count: int, at_ms: int, *, kind: str = "entries", from_ms: int = 0, of: str = "crm|a"
) -> Reservation:
    return Reservation("", of, kind, count, RATE, from_ms, at_ms)  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 60), st.sampled_from(["crm|a", "crm|b"]))))
def test_granted_reservations_never_exceed_the_limit(asks: list[tuple[int, int, str]]) -> None:
    budgets, now_ms = Budgets(), 0
    granted: list[tuple[int, int, str]] = []
    for count, pause_ms, of in asks:
        now_ms += pause_ms
        used = sum(n for at, n, each in granted if each == of and at > now_ms - RATE.per_ms)
        assert budgets.grant(asked(count, now_ms, of=of)) is (used + count <= RATE.at_most)
        if used + count <= RATE.at_most:
            granted.append((now_ms, count, of))


def test_an_activation_begins_with_a_full_budget() -> None:
    budgets = Budgets()
    assert budgets.grant(asked(10, 50))
    assert not budgets.grant(asked(1, 60))
    assert budgets.grant(asked(10, 60, from_ms=51))
    assert not budgets.grant(asked(1, 60, from_ms=51))
    assert budgets.grant(asked(10, 60, kind="exits"))


@given(st.integers(1, 50), st.integers(100, 5_000), st.integers(50, 400))
def test_what_is_released_keeps_its_rate(at_most: int, per_ms: int, backlog: int) -> None:
    rate, budgets, sent, now_ms = Rate(at_most, per_ms), Budgets(), 0, 0
    while sent < backlog:
        wanted = Reservation("", "crm|a", "released", 0, rate, 0, now_ms)
        count = min(backlog - sent, max(0, budgets.left(wanted)))
        assert budgets.grant(Reservation("", "crm|a", "released", count, rate, 0, now_ms))
        sent += count
        assert sent <= at_most * now_ms / per_ms
        if sent < backlog:
            now_ms += paced(rate)
    ideal_ms = backlog * per_ms / at_most
    assert ideal_ms <= now_ms <= ideal_ms + 2 * paced(rate) + backlog


def released(count: int, at_ms: int, from_ms: int = 0) -> Reservation:
    return Reservation("", "crm|a", "released", count, Rate(1_000, 3_600_000), from_ms, at_ms)


def test_a_pause_saves_up_no_more_than_a_minute() -> None:
    budgets, day_ms = Budgets(), 86_400_000
    assert budgets.left(released(0, 0)) == 0
    assert budgets.left(released(0, 36_000)) == 10
    assert budgets.grant(released(10, 36_000))
    assert budgets.left(released(0, 36_000)) == 0
    assert budgets.left(released(0, day_ms)) == 16
    for days in range(1, 40):  # beyond the longest span of other limits
        assert budgets.left(released(0, days * day_ms)) == 16
        assert budgets.grant(released(16, days * day_ms))
    assert budgets.left(released(0, day_ms, from_ms=day_ms)) == 0


def record(limits: Limits, reach: int) -> AudienceRecord:
    act = Act("ann", "person", True, "segops", 1)
    plan = ReachPlan("1", act, {}, Reach((Step("segment", reach),), reach, 0, 0))
    return AudienceRecord(Audience("a", "s", "email", limits=limits), "active", 1, plan=plan)


def test_exits_are_limited_even_if_no_limit_is_written() -> None:
    assert rate_of(record(Limits(), 10_000), "exits") == Rate(5_000, 3_600_000)
    assert rate_of(record(Limits(), 50), "exits") == Rate(LEAST_EXITS, 3_600_000)
    assert rate_of(record(Limits(exits=RATE), 50), "exits") == RATE
    assert rate_of(record(Limits(), 50), "entries") is None
