"""Rules and features of earlier versions keep their identities, by which profiles store them."""

from __future__ import annotations

from typing import Any

import pytest

from segops.testing import definition, segments

#: A rule, and by the version before dates in zones and places: the beginning of its identity, its features.
FORMER: list[tuple[dict[str, Any], str, list[int]]] = [
    (
        {"has_been": {"trait": "plan", "is": {"eq": "gold"}}, "for": "10d"},
        "41b98473f1bd5e5a",
        [248890920725297676],
    ),
    ({"near": {"lat": 48.8566, "lon": 2.3522, "radius": "5km"}, "within": "1h"}, "e7c75c994b1d17bb", []),
    ({"trait": "born", "is": {"anniversary_in_next": "7d", "zone": "Europe/Paris"}}, "60d9685c28bd887b", []),
    (
        {"did": ["A", "B"], "where": {"p": {"gte": 3}}, "count": {"gte": 2}, "within": "1d"},
        "c61be28309b20994",
        [8997386189105607166],
    ),
    (
        {"sum": "p.q", "of": "A", "is": {"gte": 3}, "between": {"from": "2d", "to": "1d"}},
        "b905e7ddc25701f1",
        [6390721823313700482],
    ),
    (
        {"did": "A", "count": {"gte": 300}, "calendar": {"this": "day", "zone": "Europe/Paris"}},
        "2bcaa8b51545584a",
        [4414181235823277357],
    ),
    (
        {"distinct": "p", "of": "A", "is": {"gte": 2}, "since": "2026-01-01"},
        "ea2a4a5b7cdb4dc1",
        [2907344511294408938],
    ),
    (
        {"sequence": [{"did": "A"}, {"did_not": "B", "within": "1h"}]},
        "5eef599129574616",
        [4238172995739534912],
    ),
    ({"rfm": "champions"}, "16b61e59335f5d1f", [6432038196426499036]),
]


@pytest.mark.parametrize(("rule", "identity", "features"), FORMER, ids=lambda value: str(value)[:30])
def test_identity_is_that_of_the_earlier_version(
    rule: dict[str, Any], identity: str, features: list[int]
) -> None:
    assert definition("rule", rule).identity.startswith(identity)
    assert list(segments(rule=rule).features) == features
