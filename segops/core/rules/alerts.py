"""The ``alert`` block of a segment: bounds on its size, its entries and its exits."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from segops.core.values import format_duration

#: A change of a size is not evaluated from fewer earlier members, unless the block says otherwise.
DEFAULT_FLOOR: Final = 100
#: 100 %, in the unit of ``Alert.share``.
WHOLE: Final = 10_000
_MINUTE_MS: Final = 60_000
_HOUR_MS: Final = 60 * _MINUTE_MS
_DAY_MS: Final = 24 * _HOUR_MS

Figure = Literal["size", "members", "entries", "exits"]
Direction = Literal["", "+", "-"]


class Alert(msgspec.Struct, frozen=True, omit_defaults=True):
    """One condition on a segment under which an alert fires.

    ``size``: the members have changed by at least ``share`` (in hundredths of a percent) within
    ``window_ms``. With the ``direction`` ``+`` only a rise counts, with ``-`` only a fall. Without effect
    while the earlier size is below ``floor``. ``members``: the size is beyond a bound. ``entries`` and
    ``exits``: their number within ``window_ms`` is beyond a bound.
    """

    figure: Figure
    window_ms: int = 0
    share: int = 0
    direction: Direction = ""
    floor: int = DEFAULT_FLOOR
    at_least: int | None = None
    at_most: int | None = None

    @property
    def step_ms(self) -> int:
        """How often the alert is evaluated: every minute; with a window of more than a day, every hour."""
        return _MINUTE_MS if self.window_ms <= _DAY_MS else _HOUR_MS

    @property
    def written(self) -> dict[str, Any]:
        """The alert in the form of a segment file.

        >>> Alert("size", 86_400_000, 3_000, "-").written
        {'size': '-30%', 'over': '1d'}
        >>> Alert("entries", 3_600_000, at_most=5_000).written
        {'entries': {'at_most': 5000, 'per': '1h'}}
        """
        if self.figure == "size":
            form = {"size": _percentage(self.share, self.direction), "over": format_duration(self.window_ms)}
            return form if self.floor == DEFAULT_FLOOR else {**form, "floor": self.floor}
        bounds: dict[str, Any] = {"at_least": self.at_least, "at_most": self.at_most}
        block = {key: bound for key, bound in bounds.items() if bound is not None}
        if self.window_ms:
            block["per"] = format_duration(self.window_ms)
        return {self.figure: block}

    @property
    def text(self) -> str:
        """The alert in one line, which identifies it within its segment.

        >>> Alert("size", 86_400_000, 3_000).text, Alert("members", at_least=100, at_most=900).text
        ('size 30% over 1d', 'members at_least 100 at_most 900')
        """
        written = self.written
        block = written if self.figure == "size" else written[self.figure]
        shown = " ".join(f"{key} {value}" for key, value in block.items())
        return shown if self.figure == "size" else f"{self.figure} {shown}"

    def holds(self, number: int, former: int = 0) -> bool:
        """Return whether the alert fires for a number, and for a ``size`` the number a window earlier.

        >>> fall = Alert("size", 86_400_000, 3_000, "-")
        >>> fall.holds(70, 100), fall.holds(71, 100), fall.holds(140, 100), fall.holds(1, 99)
        (True, False, False, False)
        """
        if self.figure != "size":
            return (self.at_least is not None and number < self.at_least) or (
                self.at_most is not None and number > self.at_most
            )
        if former < self.floor:
            return False
        change = {"+": number - former, "-": former - number}.get(self.direction, abs(number - former))
        return change * WHOLE >= self.share * former


def _percentage(share: int, direction: str) -> str:
    whole, rest = divmod(share, 100)
    return f"{direction}{whole}{f'.{rest:02}'.rstrip('0') if rest else ''}%"
