"""The ``membership`` block of a segment: minimum stay, cool-down and maximum number of entries."""

from __future__ import annotations

from typing import Any

import msgspec

from segops.core.values import format_duration


class Policy(msgspec.Struct, frozen=True, omit_defaults=True):
    """Limits of memberships; None means no limit.

    A member stays for at least ``min_stay_ms``, even while the rule is false. After an exit, a profile does
    not enter again for ``cool_down_ms``, and it never enters more than ``max_entries`` times.
    """

    min_stay_ms: int | None = None
    cool_down_ms: int | None = None
    max_entries: int | None = None

    @property
    def remembers(self) -> bool:
        """Whether the limits depend on past memberships, which must then be stored."""
        return self.cool_down_ms is not None or self.max_entries is not None

    @property
    def timed(self) -> bool:
        """Whether a limit can end, and change a membership, by time alone."""
        return self.min_stay_ms is not None or self.cool_down_ms is not None

    @property
    def written(self) -> dict[str, Any]:
        """The block in the form of a segment file.

        >>> Policy(min_stay_ms=604_800_000, max_entries=3).written
        {'min_stay': '1w', 'max_entries': 3}
        """
        lengths = {"min_stay": self.min_stay_ms, "cool_down": self.cool_down_ms}
        form: dict[str, Any] = {key: format_duration(ms) for key, ms in lengths.items() if ms is not None}
        return form if self.max_entries is None else {**form, "max_entries": self.max_entries}
