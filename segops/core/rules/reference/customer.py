"""The meaning of the nodes about the customer, from all events."""

from __future__ import annotations

from typing import Any

from segops.core.operators import Predicate
from segops.core.rules import model
from segops.core.rules.reference.history import History, counts
from segops.core.rules.reference.values import lookup, same


def has_changed(node: model.Changed, history: History, now_ms: int) -> bool:
    """Return whether one of the events in the window changed the trait as the node says."""
    former = None
    for event in history.in_order():
        if node.path[0] not in (event.traits or {}):
            continue
        value = lookup(event.traits, node.path)
        as_wanted = _accepts(node.before, former, event.time_ms) and _accepts(
            node.after, value, event.time_ms
        )
        if as_wanted and not same(former, value) and counts(node.window, event.time_ms, now_ms):
            return True
        former = value
    return False


def _accepts(test: Predicate | None, value: Any, time_ms: int) -> bool:
    return test is None or test.holds(value, time_ms)


def types_of_identifiers(history: History) -> set[str]:
    """Return the types of the identifiers that the profile has: only an e-mail address can be removed."""
    found = {history.profile_id.partition(":")[0]} - {"user_id", "email", "anonymous_id"}
    for event in history.in_order():
        found.update(other.partition(":")[0] for other in event.others)
        if event.user_id is not None:
            found.add("user_id")
        if event.anonymous_id is not None:
            found.add("anonymous_id")
        if event.email is not None:
            found.add("email")
        elif event.email_removed:
            found.discard("email")
    return found
