"""The model of a score that is declared in a segment file and not fitted yet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from segops.core.operators import Predicate


class Unfitted(msgspec.Struct, frozen=True):
    """A score that no profile has."""

    def value(self, _read: Any, _now_ms: int) -> None:
        return None

    def next_edge(self, _read: Any, _tests: Iterable[Predicate], _now_ms: int) -> None:
        return None
