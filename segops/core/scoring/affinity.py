"""Affinity: how much more a customer is drawn to a value than all customers are.

Each event counts for the values of one of its properties, half as much after each half-life. The lift of a
value is the customer's share of it over the population's, after adding ``prior`` counts that are spread as
those of the population. All counts decay alike, so time alone only moves the lift, in one direction,
towards 1, as the counts become few against the prior.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import ceil, exp2, fsum, inf, log2
from typing import Any, Final

import msgspec

from segops.core.features import Feature
from segops.core.features.states import Entries, State
from segops.core.operators import Predicate
from segops.core.paths import Path
from segops.core.scoring.crossing import first_outside
from segops.core.scoring.models import AffinityParameters
from segops.core.scoring.order_scores import DECIMALS, LATEST_MS, numbers_in, rank_among
from segops.core.windows import ALWAYS

_HALF: Final = 0.5 * 10**-DECIMALS
#: Half-lives after which counts are 0 against every prior: 2 to this power is still a number.
_MOST_HALVES: Final = 1_000.0
#: The unit of a customer's vote for the shares of a population.
VOTE: Final = 1_000_000


class Drawn(msgspec.Struct, frozen=True, gc=False):
    """What a customer is drawn to: decayed counts as of ``latest_ms``, the time of the latest of them.

    ``counts``: of each value, and ``total`` of all together. ``counted``: how many there are undecayed.
    """

    counts: dict[str, float]
    total: float
    counted: int
    latest_ms: int


class AffinityScore(msgspec.Struct, frozen=True, tag="affinity", omit_defaults=True):
    """The lift of the value ``of``, rounded to nine decimals; without ``of``, the value that draws most.

    ``shares`` are those of the population: with ``of``, its own only, if it is known. ``measured``: whether
    there are any.
    """

    names: tuple[str, ...]
    path: Path
    half_life_ms: int
    prior: float
    least: int
    shares: tuple[tuple[str, float], ...] = ()
    of: str | None = None
    measured: bool = False

    @property
    def feature(self) -> Feature:
        """The events that the score reads, each with its values: those of ``most_frequent``."""
        return Feature("most_frequent", self.names, (), ALWAYS, path=self.path)

    @property
    def moves(self) -> bool:
        """Whether the score moves with every millisecond: the strongest value does not."""
        return self.of is not None

    def read(self, state: State | None) -> Drawn | None:
        """Return what the score is computed from; None if it is missing, now and without another event."""
        found = drawn(state, self.half_life_ms)
        if found is None or found.counted < self.least or not self.shares:
            return None
        return found if self.moves or self.strongest(found) is not None else None

    def value(self, read: Drawn | None, now_ms: int) -> Any:
        """Return the lift at ``now_ms``, or the strongest value; None if it is missing.

        >>> score = AffinityScore(("View",), ("category",), 1_000, 5.0, 1, (("shoes", 0.2),), "shoes", True)
        >>> read = Drawn({"shoes": 5.0}, 5.0, 5, 0)
        >>> score.value(read, 0), score.value(read, 1_000), score.value(None, 0)
        (3.0, 2.333333333, None)
        """
        if read is None:
            return None
        if self.of is None:
            return self.strongest(read)
        ((_, share),) = self.shares
        halves = (now_ms - read.latest_ms) / self.half_life_ms
        return round(lift(read.counts.get(self.of, 0.0) / share, read.total, self.prior, halves), DECIMALS)

    def strongest(self, read: Drawn) -> str | None:
        """Return the value with the greatest lift, which is above 1; None if no lift is.

        All lifts move alike, so that is the same value at every instant. Of equal ones it is the first by
        code points.
        """
        ratios = ((read.counts.get(value, 0.0) / share, value) for value, share in self.shares)
        above = [(-ratio, value) for ratio, value in ratios if ratio > read.total]
        return min(above)[1] if above else None

    def next_edge(self, read: Drawn | None, tests: Iterable[Predicate], now_ms: int) -> int | None:
        """Return the first instant after ``now_ms`` at which the truth of the tests may change, or None."""
        if self.of is None:
            value = self.value(read, now_ms)
            edges = (test.next_edge(value, now_ms) for test in tests)
            return min((edge for edge in edges if edge is not None), default=None)
        return self.next_crossing(read, numbers_in(tests), now_ms)

    def next_crossing(
        self, read: Any, numbers: Sequence[Any], now_ms: int, view: Callable[[Any], Any] = lambda value: value
    ) -> int | None:
        """Return the first instant after ``now_ms`` at which the lift reaches, passes or leaves a number.

        ``numbers`` are sorted, and compared with the ``view`` of the lift. None: it does not until the year
        9999.
        """
        if read is None or not self.moves:
            return None
        begun = view(self.value(read, now_ms))
        place = rank_among(numbers, begun)

        def inside(at_ms: int) -> bool:
            return rank_among(numbers, view(self.value(read, at_ms))) == place

        if inside(LATEST_MS):
            return None
        return first_outside(inside, now_ms, LATEST_MS, self._guess(read, numbers, begun))

    def _guess(self, read: Drawn, numbers: Sequence[Any], begun: Any) -> int:
        """Return about when the lift passes the next of the numbers, which it does."""
        ((value, share),) = self.shares
        above = read.counts.get(value, 0.0) / share - read.total
        left, right = bisect_left(numbers, begun), bisect_right(numbers, begun)
        sign = -1 if above > 0 else 1
        number = numbers[left if right > left or sign > 0 else left - 1]
        target = float(number) + (sign if right > left else -sign) * _HALF
        grown = (above / (target - 1) - read.total) / self.prior if target != 1 else inf
        halves = log2(grown) if 0 < grown < inf else _MOST_HALVES
        return read.latest_ms + ceil(halves * self.half_life_ms)


def lift(ratio: float, total: float, prior: float, halves: float) -> float:
    """Return the lift of a value so many half-lives after the latest count.

    ``ratio``: the customer's count of the value over the population's share of it; ``total``: of all values.
    With d = 2 to the power of -``halves``, this is (d ``ratio`` + ``prior``) / (d ``total`` + ``prior``),
    written so that rounding never turns it while time passes.

    >>> lift(25.0, 5.0, 5.0, 0.0), lift(25.0, 5.0, 5.0, 2000.0), lift(0.0, 15.0, 5.0, 0.0)
    (3.0, 1.0, 0.25)
    """
    return 1.0 + (ratio - total) / (total + prior * exp2(min(halves, _MOST_HALVES)))


def drawn(state: State | None, half_life_ms: int) -> Drawn | None:
    """Return the decayed counts of events with values; None without any. Only texts are values."""
    times: dict[str, list[int]] = {}
    if not isinstance(state, Entries):
        return None
    for entry in state.entries:
        for value in entry.value:
            if value.__class__ is str:
                times.setdefault(value, []).append(entry.time_ms)
    if not times:
        return None
    latest_ms = max(each[-1] for each in times.values())
    weights = {
        value: [exp2((time_ms - latest_ms) / half_life_ms) for time_ms in each]
        for value, each in times.items()
    }
    # Sums are rounded once, so they are the same in whatever order the events have arrived.
    counts = {value: fsum(each) for value, each in weights.items()}
    total = fsum(weight for each in weights.values() for weight in each)
    return Drawn(counts, total, sum(map(len, times.values())), latest_ms)


def affinity_score(parameters: AffinityParameters, of: str | None) -> AffinityScore:
    """Return the score of a model, for the value ``of``."""
    shares = parameters.shares if of is None else [each for each in parameters.shares if each[0] == of]
    return AffinityScore(
        parameters.names,
        parameters.path,
        parameters.half_life_ms,
        parameters.prior,
        parameters.least,
        tuple(shares),
        of,
        bool(parameters.shares),
    )


# -- the population ----------------------------------------------------------------------------------------


def votes(score: AffinityScore, state: State | None, now_ms: int) -> dict[str, int]:
    """Return the vote of a profile for each value: its shares, in millionths of n / (n + prior).

    n are its decayed counts at ``now_ms``, so that a customer who has done little, or nothing for long, has
    little weight. Empty if the profile has no score.

    >>> from segops.core.features.states import Entry
    >>> state = Entries([Entry(0, ["shoes"], ()), Entry(0, ["hats", "shoes"], ())])
    >>> votes(AffinityScore(("View",), ("category",), 1_000, 3.0, 1), state, 0)
    {'shoes': 333333, 'hats': 166667}
    """
    found = drawn(state, score.half_life_ms)
    if found is None or found.counted < score.least:
        return {}
    halves = (now_ms - found.latest_ms) / score.half_life_ms
    whole = found.total + score.prior * exp2(min(halves, _MOST_HALVES))
    return {value: round(VOTE * count / whole) for value, count in found.counts.items()}


def shares_of(voted: Mapping[str, int], most: int) -> dict[str, float]:
    """Return the shares of the ``most`` values with the most votes among all, the greatest first.

    The shares are of all votes, so that they add up to less than 1 if there are more values.

    >>> shares_of({"hats": 10, "shoes": 30, "socks": 0, "boots": 10}, 2)
    {'shoes': 0.6, 'boots': 0.2}
    """
    total = sum(voted.values())
    ranked = sorted((-count, value) for value, count in voted.items() if count)
    found = {value: round(-count / total, DECIMALS) for count, value in ranked[:most]}
    return {value: share for value, share in found.items() if share}
