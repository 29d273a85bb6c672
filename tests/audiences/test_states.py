"""Every state of an audience with every action: what is allowed, and what it leads to."""

from __future__ import annotations

from typing import get_args

import pytest

from segops.core.audiences.model import State
from segops.core.audiences.states import APPROVED, SENDING, TRANSITIONS, Action, IllegalAction, after

STATES: tuple[State, ...] = get_args(State)
ACTIONS: tuple[Action, ...] = get_args(Action)
#: All that is possible, written down once more: `.` is what leaves the state as it is.
TABLE = {
    "draft": "apply→. plan→. submit→waiting retire→retired",
    "waiting": "apply→draft plan→. approve→active reject→draft retire→retired",
    "active": "apply→draft plan→. hold→held pause→paused retire→retired",
    "held": "apply→draft plan→. release→active retire→retired",
    "paused": "apply→draft plan→. resume→active retire→retired",
    "retired": "",
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("action", ACTIONS)
def test_each_action_in_each_state(state: State, action: Action) -> None:
    possible = dict(each.split("→") for each in TABLE[state].split())
    if action in possible:
        assert after("a", state, action) == possible[action].replace(".", state)
        return
    with pytest.raises(IllegalAction) as refused:
        after("a", state, action, "void: segment vip was edited")
    assert (refused.value.state, refused.value.action) == (state, action)
    assert refused.value.possible == tuple(possible)
    start = f"cannot {action} the audience a: it is {state} (void: segment vip was edited); possible: "
    assert str(refused.value) == start + (", ".join(possible) or "none: its key stays reserved")


def test_nothing_is_active_without_an_approval() -> None:
    """From a draft, every way to a state in which something is sent passes the approval."""
    reached, left = {"draft"}, ["draft"]
    while left:
        for action, state in TRANSITIONS[left.pop()].items():  # type: ignore[index]
            if action != "approve" and state not in reached:
                reached.add(state)
                left.append(state)
    assert not reached & APPROVED


def test_only_persons_start_to_send() -> None:
    leads = {action for found in TRANSITIONS.values() for action, state in found.items() if state == "active"}
    assert leads - {"plan"} == SENDING
