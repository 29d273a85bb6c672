"""The interface between a scan and what it computes."""

from __future__ import annotations

from typing import Protocol, Self

from segops.core.profile import Profile


class Result(Protocol):
    """The result of one partition, or of several that were merged."""

    def merged(self, other: Self) -> Self:
        """Return the result over the profiles of both; the order of merging does not matter."""
        ...


class Visitor(Protocol):
    """Computes the result of one partition, one profile at a time."""

    @property
    def share(self) -> float:
        """The share of the profiles to visit, by ``in_sample``; the others need not be read."""
        ...

    def visit(self, profile: Profile, now_ms: int) -> None:
        """Take one profile into account as of ``now_ms``, without changing it.

        All its timers up to ``now_ms`` have fired.
        """
        ...

    def result(self) -> Result:
        """Return the result over the profiles visited so far."""
        ...
