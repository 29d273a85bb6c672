"""One alert of a segment, evaluated at the end of one minute after another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from segops.analytics.chain import Minute, MinuteChain
from segops.analytics.intervals import NetFlow
from segops.analytics.rolling import Rolling
from segops.core.rules.alerts import Alert
from segops.schemas.sizes import TrendRecord

#: The reasons of changes that a publication of definitions causes: no entries or exits of customers.
PUBLISHED: Final = frozenset({"definition", "score", "backfill"})


class Verdict(NamedTuple):
    """Whether an alert holds at an instant, by which number, and by which earlier one if it compares two."""

    at_ms: int
    holds: bool
    number: int
    former: int | None


class AlertWatch:
    """What one alert needs of the minutes of all partitions. ``at_ms``: up to when it is evaluated.

    64 bytes per partition, and 16 per minute (or hour) of the window with a change.
    """

    __slots__ = ("_began_ms", "_chain", "_rolling", "alert")

    def __init__(self, alert: Alert, partitions: int, at_ms: int) -> None:
        self.alert = alert
        self._chain = MinuteChain(partitions)
        self._rolling = Rolling(alert.window_ms, alert.step_ms, at_ms)
        self._began_ms: int | None = None

    @property
    def of_members(self) -> bool:
        """Whether the alert is about the members, not about entries or exits."""
        return self.alert.figure in ("size", "members")

    def note(self, found: TrendRecord) -> None:
        """Take a minute of a partition; a later record of the same minute replaces it."""
        if self._began_ms is None or found.minute_ms < self._began_ms:
            self._began_ms = found.minute_ms
        for start_ms, flow in self._chain.apply(found.partition, self._minute(found)):
            self._rolling.add(start_ms, self._number(flow))

    def _minute(self, found: TrendRecord) -> Minute:
        if self.of_members:
            entered, left = sum(found.entered.values()), sum(found.left.values())
            return Minute(found.minute_ms, entered, left, found.members)
        return Minute(found.minute_ms, _counted(found.entered), _counted(found.left), 0)

    def _number(self, flow: NetFlow) -> int:
        return {"entries": flow.entered, "exits": flow.left}.get(self.alert.figure, flow.net)

    def members_in(self, partition: int) -> int | None:
        """Return the members at the end of the latest minute of a partition, or None without one."""
        return self._chain.members(partition)

    def evaluate(self, until_ms: int, members: int, known_ms: int) -> Iterator[Verdict]:
        """Yield the verdicts after those before, up to ``until_ms``, wherever they can differ.

        All minutes before ``until_ms`` must have been noted. ``members``: at the ends of the partitions'
        latest minutes. ``known_ms``: earlier sizes are unknown.
        """
        alert, rolling = self.alert, self._rolling
        last_ms = until_ms // alert.step_ms * alert.step_ms
        if last_ms <= rolling.at_ms:
            return
        edges = {*rolling.edges(last_ms), last_ms}
        if rolling.at_ms:  # the first step may find what held before
            edges.add(rolling.at_ms + alert.step_ms)
        noted = (self._first_ms, self._full_ms)
        edges |= {each for each in noted if each is not None and rolling.at_ms < each < last_ms}
        for at_ms in sorted(edges):
            rolling.move(at_ms)
            if alert.figure == "size" and at_ms - alert.window_ms < known_ms:
                continue
            yield self._verdict(members - rolling.later if self.of_members else rolling.inside)

    def _verdict(self, number: int) -> Verdict:
        alert, at_ms, former = self.alert, self._rolling.at_ms, number - self._rolling.inside
        if alert.figure == "size":
            return Verdict(at_ms, alert.holds(number, former), number, former)
        full_ms = self._full_ms
        least = 0 if full_ms is not None and at_ms >= full_ms else alert.at_least or 0
        return Verdict(at_ms, alert.holds(max(number, least)), number, None)

    @property
    def _first_ms(self) -> int | None:
        """The end of the step of the first change, even if that change is undone in the same minute."""
        step_ms = self.alert.step_ms
        return None if self._began_ms is None else (self._began_ms // step_ms + 1) * step_ms

    @property
    def _full_ms(self) -> int | None:
        """The first step whose window begins no earlier than the first change; None without a change.

        Only from then on it is a fact that there were few entries.
        """
        window_ms, step_ms = self.alert.window_ms, self.alert.step_ms
        if not window_ms:
            return 0
        return None if self._began_ms is None else -(-(self._began_ms + window_ms) // step_ms) * step_ms

    def skip(self, until_ms: int) -> None:
        """Evaluate nothing up to ``until_ms``."""
        last_ms = until_ms // self.alert.step_ms * self.alert.step_ms
        if last_ms > self._rolling.at_ms:
            self._rolling.move(last_ms)


def _counted(by_reason: Mapping[str, int]) -> int:
    return sum(number for reason, number in by_reason.items() if reason not in PUBLISHED)
