"""near: locations within a radius, to the metre and to the millisecond."""

from __future__ import annotations

from typing import Any

import pytest

from segops.core.geo import distance_m, parse_length
from segops.schemas.events import decode
from segops.testing import Customer, Flip

from .helpers import MONDAY, issues_of

T = MONDAY


def test_near_crosses_the_antimeridian_and_ends_when_the_location_is_stale() -> None:
    customer = Customer(fiji={"near": {"lat": -17, "lon": 179.99, "radius": "5km"}, "within": "1h"})
    assert customer.did("page", T, location=(-17.0, -179.99)) == [Flip("entered", "fiji", T)]
    assert customer.wait(T + 3_599_999) == []
    assert customer.wait(T + 3_600_000) == [Flip("exited", "fiji", T + 3_600_000)]


def test_late_location_does_not_replace_a_newer_one() -> None:
    customer = Customer(shop={"near": {"lat": 0, "lon": 0, "radius": "1km"}})
    assert customer.did("page", T + 10, location=(0.0, 0.0)) == [Flip("entered", "shop", T + 10)]
    assert customer.did("page", T + 5, location=(9.0, 9.0)) == []
    assert customer.did("page", T + 10, location=(9.0, 9.0)) == [Flip("exited", "shop", T + 10)]


@pytest.mark.parametrize(
    ("a", "b", "metres"),
    [
        ((48.8566, 2.3522), (51.5074, -0.1278), 343_557),
        ((90.0, 0.0), (90.0, 123.0), 0),
        ((0.0, 0.0), (0.0, 180.0), 20_015_115),
    ],
)
def test_distances_follow_great_circles(a: tuple[float, float], b: tuple[float, float], metres: int) -> None:
    assert distance_m(a, b) == pytest.approx(metres, abs=5)


def test_lengths_are_read_in_three_units() -> None:
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
def test_location_is_read_from_the_context(location: bytes, expected: tuple[float, float] | None) -> None:
    value = b'{"type":"page","userId":"u","context":{"location":%s}}' % location
    assert decode(value, time_ms=0, default_id="-").location == expected


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            {"near": {"lat": 91, "lon": 0, "radius": "1km"}},
            "when.near.lat: expected degrees from -90 to 90",
        ),
        ({"near": {"lat": 0, "lon": 0, "radius": "0km"}}, "when.near.radius: expected a length above 0"),
        ({"near": {"lat": 0, "lon": 0, "radius": "1km"}, "since": "2026-01-01"}, "when.since: unknown key"),
    ],
)
def test_invalid_near_is_rejected_with_the_reason(rule: dict[str, Any], message: str) -> None:
    found = issues_of(rule)
    assert any(issue.startswith(f"f: {message}") for issue in found), found
