"""How much may leave for a destination in a span of time: reservations, decided in the order of a log.

Every process that reads the log decides each reservation the same, so no process can send what another one
has used up, and what was reserved before a crash stays used.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Literal

import msgspec

from segops.core.audiences.model import AudienceRecord, Limits, Rate

Kind = Literal["entries", "exits", "released"]
#: Where ``limits.exits`` is not written: at most half of the approved reach, and at least this many, leave in
#: an hour. An empty or broken computation never empties an audience outside.
LEAST_EXITS: Final = 100
_HOUR_MS: Final = 3_600_000
_MINUTE_MS: Final = 60_000
#: The longest span of a limit.
LONGEST_MS: Final = 31 * 86_400_000


class Reservation(msgspec.Struct, frozen=True, array_like=True):
    """A request to send ``count`` messages; ``rate`` is the limit that it stands under.

    ``delivery`` is written ``destination|audience``. ``from_ms``: earlier reservations do not count, since a
    person has approved, released or resumed the audience after them; ``at_ms`` is not before it, whatever the
    clock of the process says.
    """

    id: str
    delivery: str
    kind: Kind
    count: int
    rate: Rate
    from_ms: int
    at_ms: int


class Budgets:
    """The reservations that were granted, in the order of the log."""

    def __init__(self) -> None:
        self._granted: dict[tuple[str, Kind], deque[tuple[int, int]]] = {}
        #: Delivery and instant of its release -> up to when its rate is used.
        self._used_until: dict[tuple[str, int], int] = {}

    def grant(self, wanted: Reservation) -> bool:
        """Decide a reservation: granted, if it and those of its span are at most the limit.

        >>> def asked(count, at_ms):
        ...     return Reservation("", "crm|winback", "entries", count, Rate(5, 100), 0, at_ms)
        >>> budgets = Budgets()
        >>> [budgets.grant(asked(*each)) for each in ((3, 10), (3, 20), (2, 30), (3, 110))]
        [True, False, True, True]
        """
        if wanted.count > self.left(wanted):
            return False
        if wanted.kind == "released":
            self._use(wanted)
            return True
        granted = self._granted.setdefault((wanted.delivery, wanted.kind), deque())
        granted.append((wanted.at_ms, wanted.count))
        while granted and granted[0][0] <= wanted.at_ms - LONGEST_MS:
            granted.popleft()
        return True

    def left(self, wanted: Reservation) -> int:
        """Return how much the limit leaves when a reservation is made.

        What was released is paced evenly: as much as the time allows since the rate was used, and at most as
        much as in a minute, however long nothing was sent.
        """
        rate, granted = wanted.rate, self._granted.get((wanted.delivery, wanted.kind), ())
        if wanted.kind == "released":
            return max(0, rate.at_most * (wanted.at_ms - self._since(wanted)) // rate.per_ms)
        after = max(wanted.at_ms - rate.per_ms, wanted.from_ms - 1)
        return rate.at_most - sum(count for at_ms, count in granted if at_ms > after)

    def _since(self, wanted: Reservation) -> int:
        """Return since when the rate of a release is unused: for a minute at most, or for one message."""
        used_ms = self._used_until.get((wanted.delivery, wanted.from_ms), wanted.from_ms)
        return max(used_ms, wanted.at_ms - max(_MINUTE_MS, paced(wanted.rate)))

    def _use(self, wanted: Reservation) -> None:
        rate = wanted.rate
        spent_ms = -(-wanted.count * rate.per_ms // rate.at_most)
        self._used_until[wanted.delivery, wanted.from_ms] = self._since(wanted) + spent_ms


def rate_of(record: AudienceRecord, kind: Literal["entries", "exits"]) -> Rate | None:
    """Return the limit of entries or exits of an approved audience; None: there is none."""
    limits: Limits = record.audience.limits
    if kind == "entries":
        return limits.entries
    if limits.exits is not None:
        return limits.exits
    reach = 0 if record.plan is None else record.plan.reach.members
    return Rate(max(LEAST_EXITS, reach // 2), _HOUR_MS)


def paced(rate: Rate) -> int:
    """Return the wait in ms after which a rate allows another message.

    >>> paced(Rate(1_000, 3_600_000))
    3600
    """
    return max(1, -(-rate.per_ms // rate.at_most))


def exceeded(limits: Limits, members: int, population: int) -> str | None:
    """Return in words how an audience is larger than its limits allow; None if it is not.

    >>> exceeded(Limits(members=50, share=2_000), 60, 1_000), exceeded(Limits(share=500), 60, 1_000)
    ('60 members, at most 50', '60 of 1,000 profiles, at most 5 %')
    >>> exceeded(Limits(members=60), 60, 1_000) is None
    True
    """
    if limits.members is not None and members > limits.members:
        return f"{members:,} members, at most {limits.members:,}"
    if limits.share is not None and members * 10_000 > limits.share * population:
        return f"{members:,} of {population:,} profiles, at most {limits.share / 100:g} %"
    return None
