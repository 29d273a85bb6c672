"""Helpers for the tests of the core: lengths of time, the issues of a rule, a rule at an instant."""

from __future__ import annotations

from typing import Any

import pytest

from segops.core.errors import DefinitionError
from segops.core.rules.parsing import Context, read_rule
from segops.testing import Customer

S, M, H, D = 1_000, 60_000, 3_600_000, 86_400_000
#: A Monday, 00:00 UTC.
MONDAY = 1_760_313_600_000


def issues_of(rule: dict[str, Any]) -> list[str]:
    """Return the issues of an invalid rule, located at ``when`` in file ``f``."""
    with pytest.raises(DefinitionError) as refused:
        read_rule(rule, "when", Context("f"))
    return [str(issue) for issue in refused.value.issues]


def holds_at(rule: dict[str, Any], now_ms: int, *events: tuple[Any, ...]) -> bool:
    """Return whether a rule holds at ``now_ms`` after events ``(name, time, {property: value})``."""
    customer = Customer(rule=rule)
    for name, time_ms, *properties in events:
        customer.send(name, time_ms, **(properties[0] if properties else {}))
    customer.wait(now_ms)
    return customer.member_of == {"rule"}
