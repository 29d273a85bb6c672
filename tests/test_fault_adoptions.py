"""The changes that the verifier expects around the adoption of definitions."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from tests.core.oracle import ChangeSummary
from tests.faults.adoptions import Adoption, _Partition

KEY, PROFILE = "newcomers", "user_id:u53"
#: The first record after the adoption, and the instant by which the adoption evaluates the profile.
ADOPTED, AT_MS = 100, 50_000

#: Action, reason, instant, and the offset of the record at which it was found.
_Step = tuple[str, str, int, int]


def expected(*steps: _Step) -> list[list[tuple[str, str, int]]]:
    """Return what may be published when both sets of definitions lead to the same changes."""
    profile = SimpleNamespace(
        expected_changes=[
            ChangeSummary(KEY, action, reason, at, None, None) for action, reason, at, _ in steps
        ],
        expected_at=[offset for *_, offset in steps],
    )
    account: Any = SimpleNamespace(profiles={PROFILE: profile}, noted={0: {}, ADOPTED: {PROFILE: AT_MS}})
    partition = _Partition([Adoption([], 0), Adoption([], AT_MS, ADOPTED)], [account, account])
    options = partition.expected(PROFILE, KEY)
    return [[(each.action, each.reason, each.occurred_at) for each in option] for option in options]


def published(steps: Sequence[_Step]) -> list[tuple[str, str, int]]:
    return [(action, reason, at) for action, reason, at, _ in steps]


@pytest.mark.parametrize("found_at", [90, 150])
def test_what_is_due_at_an_adoption_may_be_part_of_its_difference(found_at: int) -> None:
    steps = [("entered", "event", 10_000, 50), ("exited", "time", 40_000, found_at)]
    options = expected(*steps)
    assert published(steps) in options
    difference = [*published(steps[:1]), ("exited", "definition", AT_MS)]
    assert (difference in options) is (found_at > ADOPTED)


def test_a_late_merge_after_an_adoption_makes_nothing_due_at_it() -> None:
    steps = [
        ("entered", "event", 10_000, 50),
        ("exited", "time", 40_000, 150),
        ("entered", "merge", 20_000, 160),
        ("exited", "time", 40_000, 170),
    ]
    assert published(steps) in expected(*steps)
