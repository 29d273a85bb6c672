"""Rules about figures and the rhythm of events keep the identities of the version before frozen figures."""

from __future__ import annotations

from typing import Any

import pytest

from segops.testing import definition, segments

#: A rule, the beginning of its identity, and its features.
FORMER: list[tuple[dict[str, Any], str, list[int]]] = [
    (
        {"compare": [{"did": "A", "within": "7d"}, "gt", {"sum": "p", "of": "B"}]},
        "e8c83a5e13ff26b8",
        [7875255084613129867, 1643418779940929402],
    ),
    ({"compare": [{"days_since_last": "A"}, "gte", 3]}, "19030aaa2ec8bf96", [2896057900848251760]),
    (
        {"ratio": {"of": {"did": "A"}, "to": {"did": "B", "within": "1d"}, "is": {"gte": 0.5}}},
        "c42b5fd18bd078de",
        [3323193961990643060, 3483549376294031989],
    ),
    (
        {"most_frequent": "p", "of": "A", "is": {"eq": "x"}, "within": "1d"},
        "30e6e05ce38d78d7",
        [6699184224064852096],
    ),
    ({"did_not": "A", "since_last": "B", "same": "p"}, "0137894e07fb80d0", [2931723590331890727]),
    ({"active_days": "A", "is": {"gte": 2}, "within": "7d"}, "75e1326ef0824981", [7890778626642330830]),
    (
        {"sessions": "A", "gap": "30m", "is": {"gte": 2}, "within": "7d"},
        "58785054bea8a964",
        [6643730245962436690],
    ),
    ({"session": {"last": "p"}, "of": "A", "is": {"eq": 1}}, "37326ea100e636cf", [8791453893356948197]),
    ({"regularly": "A", "every": "7d", "k": 2, "of": 3}, "f45833ea2e965974", [1489929288174139878]),
    ({"lifecycle": {"of": "A", "period": "28d", "is": "new"}}, "ea946c8a8ab1e491", [4960513628626534165]),
    ({"first": "A", "is": {"older_than": "1d"}}, "8799274da5159dce", [2106271683385028218]),
    ({"score": "recency_days", "is": {"gte": 3}}, "4b3ecb4b7867747b", []),
    ({"changed": {"trait": "p", "to": 1}, "within": "1d"}, "d1c82e66594fd94c", [6105732441247624579]),
]


@pytest.mark.parametrize(("rule", "identity", "features"), FORMER, ids=lambda value: str(value)[:30])
def test_identity_is_that_of_the_earlier_version(
    rule: dict[str, Any], identity: str, features: list[int]
) -> None:
    assert definition("rule", rule).identity.startswith(identity)
    assert list(segments(rule=rule).features) == features
