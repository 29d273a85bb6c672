"""has_been, near and bucket, to the millisecond and to the metre."""

from __future__ import annotations

from typing import Any

import pytest

from segops.core.events import Event
from segops.core.geo import distance_m, parse_length
from segops.core.segments import SegmentSet
from segops.core.values import share_of
from segops.schemas.events import decode

from .helpers import MONDAY, Customer, Edge, edges, issues_of, segments

T = MONDAY
GOLD = {"has_been": {"trait": "plan", "is": {"eq": "gold"}}, "for": "10s"}


def test_has_been_is_true_exactly_when_the_time_is_full() -> None:
    customer = Customer(gold=GOLD)
    assert customer.did("identify", T, traits={"plan": "gold"}) == []
    assert customer.profile.due_ms == T + 10_000
    assert customer.wait(T + 9_999) == []
    assert customer.wait(T + 10_000) == [Edge("entered", "gold", T + 10_000)]


def test_setting_the_same_value_again_is_no_break() -> None:
    customer = Customer(gold=GOLD)
    customer.did("identify", T, traits={"plan": "gold"})
    customer.did("identify", T + 6_000, traits={"plan": "gold"})
    assert customer.wait(T + 10_000) == [Edge("entered", "gold", T + 10_000)]


def test_a_break_begins_the_time_anew() -> None:
    customer = Customer(gold=GOLD)
    customer.did("identify", T, traits={"plan": "gold"})
    customer.did("identify", T + 5_000, traits={"plan": "free"})
    customer.did("identify", T + 6_000, traits={"plan": "gold"})
    assert customer.wait(T + 15_999) == []
    assert customer.wait(T + 16_000) == [Edge("entered", "gold", T + 16_000)]


def test_a_late_event_that_shows_a_break_counts() -> None:
    customer = Customer(gold=GOLD)
    customer.did("identify", T, traits={"plan": "gold"})
    customer.did("identify", T + 8_000, traits={"plan": "gold"})
    assert customer.did("identify", T + 4_000, traits={"plan": None}) == []
    assert customer.wait(T + 17_999) == []
    assert customer.wait(T + 18_000) == [Edge("entered", "gold", T + 18_000)]


def test_a_trait_is_missing_from_the_first_event_on() -> None:
    rule = {"has_been": {"trait": "email", "is": {"exists": False}}, "for": "10s"}
    customer = Customer(nameless=rule)
    customer.did("page", T)
    assert customer.wait(T + 10_000) == [Edge("entered", "nameless", T + 10_000)]
    assert customer.did("identify", T + 11_000, traits={"email": "a@b.c"}) == [
        Edge("exited", "nameless", T + 11_000)
    ]


def _seen_at(customer: Customer, place: tuple[float, float], time_ms: int, number: int = 0) -> list[Edge]:
    event = Event("page", time_ms, f"p{number}", {}, location=place)
    return edges(customer.engine.on_event(customer.profile, event, clock_ms=customer.clock_ms))


def test_near_reaches_across_the_antimeridian_and_ends_when_the_fix_is_stale() -> None:
    customer = Customer(fiji={"near": {"lat": -17, "lon": 179.99, "radius": "5km"}, "within": "1h"})
    assert _seen_at(customer, (-17.0, -179.99), T) == [Edge("entered", "fiji", T)]
    assert customer.wait(T + 3_599_999) == []
    assert customer.wait(T + 3_600_000) == [Edge("exited", "fiji", T + 3_600_000)]


def test_an_older_location_that_comes_late_does_not_replace_a_newer_one() -> None:
    customer = Customer(shop={"near": {"lat": 0, "lon": 0, "radius": "1km"}})
    assert _seen_at(customer, (0.0, 0.0), T + 10) == [Edge("entered", "shop", T + 10)]
    assert _seen_at(customer, (9.0, 9.0), T + 5, 1) == []
    assert _seen_at(customer, (9.0, 9.0), T + 10, 2) == [Edge("exited", "shop", T + 10)]


@pytest.mark.parametrize(
    ("a", "b", "metres"),
    [
        ((48.8566, 2.3522), (51.5074, -0.1278), 343_557),
        ((90.0, 0.0), (90.0, 123.0), 0),
        ((0.0, 0.0), (0.0, 180.0), 20_015_115),
    ],
)
def test_distances_are_great_circles(a: tuple[float, float], b: tuple[float, float], metres: int) -> None:
    assert distance_m(a, b) == pytest.approx(metres, abs=5)


def test_lengths_have_three_units() -> None:
    assert [parse_length(text) for text in ("500m", "2.5km", "2mi")] == [500, 2_500, 3_218.688]


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        (b'{"latitude":1,"longitude":-2.5}', (1.0, -2.5)),
        (b'{"latitude":91,"longitude":0}', None),
        (b'{"latitude":"1","longitude":0}', None),
        (b'{"latitude":1}', None),
        (b'"Paris"', None),
    ],
)
def test_a_location_is_read_from_the_context(location: bytes, expected: tuple[float, float] | None) -> None:
    value = b'{"type":"page","userId":"u","context":{"location":%s}}' % location
    assert decode(value, time_ms=0, default_id="-").location == expected


def test_a_bucket_holds_its_share_and_buckets_do_not_overlap() -> None:
    low, rest = ({"bucket": {"salt": "s", "from": a, "to": b}} for a, b in ((0, 12.5), (12.5, 100)))
    both: SegmentSet = segments(low=low, rest=rest)
    found = [share_of("s", f"user_id:u{n}") for n in range(4_000)]
    assert 400 < sum(share < 1_250 for share in found) < 600
    customer = Customer(low=low, rest=rest)
    customer.did("page", T)
    assert len(customer.member_of) == 1
    assert {segment.key for segment in both.segments} == {"low", "rest"}


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"has_been": {"trait": "plan"}, "for": "1d"}, "when.has_been: a map of trait and is is wanted"),
        ({"has_been": {"trait": "plan", "is": {"eq": 1}}}, "when.for: None is no duration"),
        (
            {"near": {"lat": 91, "lon": 0, "radius": "1km"}},
            "when.near.lat: degrees from -90 to 90 are wanted",
        ),
        ({"near": {"lat": 0, "lon": 0, "radius": "0km"}}, "when.near.radius: '0km' is no length"),
        ({"near": {"lat": 0, "lon": 0, "radius": "1km"}, "since": "2026-01-01"}, "when.since: unknown key"),
        ({"bucket": {"salt": "s", "from": 10, "to": 10}}, "when.bucket: never holds: from is not below to"),
        ({"bucket": {"salt": "s", "from": 0, "to": 10.005}}, "when.bucket.to: two decimals at most"),
    ],
)
def test_what_is_refused_and_why(rule: dict[str, Any], message: str) -> None:
    found = issues_of(rule)
    assert any(issue.startswith(f"f: {message}") for issue in found), found
