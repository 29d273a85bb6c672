"""The checks of the delivery: each finds evidence that is wrong."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ..destinations.receiver import Receiver
from .deliveries import backwards, untrue

CHANGES = {"p": [("c1", "entered", 1), ("c2", "exited", 2)]}


def receiver(*said: tuple[str, str, int]) -> Receiver:
    found = Receiver()
    for change_id, action, sequence in said:
        data = {"profile_id": "p", "sequence": sequence}
        found.messages.append({"type": f"segops.audience.{action}", "data": data})
        found.ids.append(change_id)
    return found


def facts() -> Any:
    changes = {
        profile: [
            SimpleNamespace(change_id=change_id, action=action, segment_key="audience.winback")
            for change_id, action, _ in each
        ]
        for profile, each in CHANGES.items()
    }
    return SimpleNamespace(changes=changes)


def test_a_true_story_has_no_findings() -> None:
    story = receiver(("c1", "entered", 1), ("c1", "entered", 1), ("c2", "exited", 2))
    assert [*backwards(story), *untrue(story, facts())] == []


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ([("c2", "exited", 2), ("c1", "entered", 1)], "p: 1 was told after 2"),
        ([("c1", "exited", 1)], "c1 exited, published was entered"),
        ([("c3", "entered", 3)], "c3 entered, published was None"),
    ],
)
def test_a_false_story_is_found(said: list[tuple[str, str, int]], found: str) -> None:
    story = receiver(*said)
    assert [each.text for each in (*backwards(story), *untrue(story, facts()))] == [found]
