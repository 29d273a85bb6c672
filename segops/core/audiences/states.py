"""The states of an audience, and the actions that lead from one to another."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

from segops.core.audiences.model import State
from segops.core.errors import UserError

Action = Literal[
    "apply", "plan", "submit", "approve", "reject", "hold", "release", "pause", "resume", "retire"
]
#: The state and the action -> the state afterwards. An edit of an active audience needs a new approval.
TRANSITIONS: Final[Mapping[State, Mapping[Action, State]]] = MappingProxyType(
    {
        "draft": {"apply": "draft", "plan": "draft", "submit": "waiting", "retire": "retired"},
        "waiting": {
            "apply": "draft",
            "plan": "waiting",
            "approve": "active",
            "reject": "draft",
            "retire": "retired",
        },
        "active": {
            "apply": "draft",
            "plan": "active",
            "hold": "held",
            "pause": "paused",
            "retire": "retired",
        },
        "held": {"apply": "draft", "plan": "held", "release": "active", "retire": "retired"},
        "paused": {"apply": "draft", "plan": "paused", "resume": "active", "retire": "retired"},
        "retired": {},
    }
)
#: States in which an approval is in force unless something that it is bound to has changed.
APPROVED: Final[frozenset[State]] = frozenset(("active", "held", "paused"))
#: Actions after which something may be sent: only a person takes them.
SENDING: Final[frozenset[Action]] = frozenset(("approve", "release", "resume"))


class IllegalAction(UserError):
    """An action that is not possible in the state of the audience; ``possible``: those that are."""

    def __init__(self, key: str, state: State, action: Action, why: str = "") -> None:
        self.key, self.state, self.action = key, state, action
        self.possible = tuple(TRANSITIONS[state])
        options = ", ".join(self.possible) or "none: its key stays reserved"
        because = f" ({why})" if why else ""
        super().__init__(f"cannot {action} the audience {key}: it is {state}{because}; possible: {options}")


def after(key: str, state: State, action: Action, why: str = "") -> State:
    """Return the state after an action. Raises IllegalAction; ``why``: why the audience is in its state.

    >>> after("winback", "waiting", "approve")
    'active'
    >>> after("winback", "held", "resume")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    segops.core.audiences.states.IllegalAction: cannot resume the audience winback: it is held; possible: ...
    """
    found = TRANSITIONS[state].get(action)
    if found is None:
        raise IllegalAction(key, state, action, why)
    return found
