"""Scores of figures in compiled rules: their ranks over time, and when time alone moves one past a number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from segops.core.profile import Profile
from segops.core.rules.execution.readings import DAY_MS, Reading
from segops.core.rules.figures import Figure
from segops.core.scoring.figure_scores import MAX_DAYS, Scorers, input_number, term_of
from segops.core.scoring.models import Input
from segops.core.scoring.order_scores import rank_among


class Ranks:
    """Where the scores of totals are: a ``rank`` of a score is the same between two scores that have it.

    A score never turns while its total rises, so all totals between two of one rank have this rank. Most
    totals need no calibration, rounding or comparison.
    """

    def __init__(self, scorer: Scorers, rank: Callable[[float], Any]) -> None:
        self._finished = scorer.finished
        self._rank = rank
        self._known: list[tuple[float, float, Any]] = []

    def of(self, total: float) -> Any:
        """Return the rank of the score of a total."""
        for low, high, rank in self._known:
            if low <= total <= high:
                return rank
        found = self._rank(self._finished(total))
        spans = [(total, total, found), *(span for span in self._known if span[2] == found)]
        others = [span for span in self._known if span[2] != found]
        self._known = [*others, (min(span[0] for span in spans), max(span[1] for span in spans), found)]
        return found


class FigureModel:
    """A model of figures with the readings of its inputs.

    Values are what is read of each input. Of an input in days that is an instant: its term changes at whole
    days after it.
    """

    def __init__(self, scorer: Scorers, readings: Sequence[Reading]) -> None:
        self.scorer = scorer
        self.ages = [number for number, each in enumerate(readings) if each.ages]
        self._readings = readings
        self._terms = [term_of(*each) for each in zip(scorer.inputs, scorer.factors, strict=True)]
        self._spans = [self._span(number, each.values) for number, each in enumerate(readings) if each.values]
        self._has_ends = all(each.other_end is not None or each.values for each in readings)

    def value(self, read: Sequence[Any], now_ms: int) -> float:
        """Return the score of values at ``now_ms``."""
        return self.scorer.finished(self.total(read, now_ms))

    def total(self, read: Sequence[Any], now_ms: int) -> float:
        """Return the total of values at ``now_ms``."""
        return self.scorer.total(self._terms_at(read, now_ms))

    def next_crossing(
        self, read: Sequence[Any], numbers: Sequence[Any], now_ms: int, view: Callable[[Any], Any]
    ) -> int | None:
        """Return the first whole day of a figure at which the score has another rank, or None."""
        ranks = Ranks(self.scorer, lambda score: rank_among(numbers, view(score)))
        return self._crossing(read, self._terms_at(read, now_ms), (now_ms, self._end(read, now_ms)), ranks)

    def ranks(self, profile: Profile, now_ms: int, ranks: Ranks) -> Iterator[tuple[int, Any]]:
        """Yield the rank of the score at ``now_ms``, and at each later instant at which it may differ."""
        series = [each.series(profile, now_ms) for each in self._readings]
        values = [next(each)[1] for each in series]
        terms, at = self._terms_at(values, now_ms), now_ms
        yield at, ranks.of(self.scorer.total(terms))
        if self._has_ends and self._agree(ranks, *self._both_ends(values, terms)):
            return
        coming = [next(each, None) for each in series]
        while True:
            until = min([each[0] for each in coming if each is not None], default=None)
            if self.ages:
                yield from self._days_between(values, terms, (at, until), ranks)
            if until is None:
                return
            for number, each in enumerate(coming):
                if each is not None and each[0] == until:
                    values[number] = each[1]
                    terms[number] = self._terms[number](each[1])
                    coming[number] = next(series[number], None)
            at = until
            terms = self._aged(terms, values, at)
            yield at, ranks.of(self.scorer.total(terms))

    def _days_between(
        self, values: Sequence[Any], terms: list[float], span: tuple[int, int | None], ranks: Ranks
    ) -> Iterator[tuple[int, Any]]:
        at, until = span
        end = self._end(values, at)
        end = end if until is None else min(end, until - 1)
        found = self._crossing(values, terms, (at, end), ranks)
        while found is not None:
            terms = self._aged(terms, values, found)
            yield found, ranks.of(self.scorer.total(terms))
            found = self._crossing(values, terms, (found, end), ranks)

    def _crossing(
        self, values: Sequence[Any], terms: list[float], span: tuple[int, int], ranks: Ranks
    ) -> int | None:
        """Return the first whole day in the span, after its begin, at which the rank is another one.

        Days in which the bounds of the score have the rank of its begin are passed over together.
        """
        rank = ranks.of(self.scorer.total(terms))
        waiting = [span] if span[1] > span[0] else []
        while waiting:
            after, upto = waiting.pop()
            if self._agree(ranks, self._aged(terms, values, after), self._aged(terms, values, upto), rank):
                continue
            if upto - after > DAY_MS:
                middle = (after + upto) // 2
                waiting += [(middle, upto), (after, middle)]
                continue
            for at in _whole_days([values[number] for number in self.ages], after, upto):
                if ranks.of(self.scorer.total(self._aged(terms, values, at))) != rank:
                    return at
        return None

    def _agree(self, ranks: Ranks, ones: Sequence[float], others: Sequence[float], rank: Any = None) -> bool:
        """Return whether all scores between have one rank: that of ``ones`` if none is given."""
        low, high = self.scorer.totals(ones, others)
        found = ranks.of(low)
        return found == ranks.of(high) and rank in (None, found)

    def _end(self, values: Sequence[Any], now_ms: int) -> int:
        """Return when the last input in days stops."""
        since = [values[number] for number in self.ages if values[number] is not None]
        return max(since, default=now_ms) + MAX_DAYS * DAY_MS if since else now_ms

    def _terms_at(self, values: Sequence[Any], now_ms: int) -> list[float]:
        terms = [term(value) for term, value in zip(self._terms, values, strict=True)]
        return self._aged(terms, values, now_ms) if self.ages else terms

    def _aged(self, terms: list[float], values: Sequence[Any], now_ms: int) -> list[float]:
        found = terms.copy()
        for number in self.ages:
            found[number] = self._terms[number](_days(values[number], now_ms))
        return found

    def _span(self, number: int, values: Sequence[Any]) -> tuple[int, float, float]:
        """Return an input with its least and its greatest term."""
        terms = [self._terms[number](value) for value in values]
        return number, min(terms), max(terms)

    def _both_ends(self, values: Sequence[Any], terms: list[float]) -> tuple[list[float], list[float]]:
        """Return two lists of terms between which the terms stay until the next event."""
        ones, others = terms.copy(), terms.copy()
        for number, each in enumerate(self._readings):
            if each.other_end is not None:
                others[number] = self._terms[number](each.other_end(values[number]))
        for number in self.ages:
            others[number] = terms[number] if values[number] is None else self._terms[number](MAX_DAYS)
        for number, low, high in self._spans:
            ones[number], others[number] = low, high
        return ones, others


def numbers_reading(
    inputs: Sequence[Input], reading_of: Callable[[Figure], Reading]
) -> Callable[[Profile, int], list[float]]:
    """Return the function from a profile and an instant to the numbers of a model's inputs.

    They are those that its score is computed from, so a model can be fitted on them.
    """
    readings = [reading_of(each.figure) for each in inputs]
    ages = [number for number, each in enumerate(readings) if each.ages]

    def numbers(profile: Profile, now_ms: int) -> list[float]:
        values = [each.read(profile, now_ms) for each in readings]
        for number in ages:
            values[number] = _days(values[number], now_ms)
        return [input_number(*each) for each in zip(inputs, values, strict=True)]

    return numbers


def _days(since_ms: int | None, now_ms: int) -> int | None:
    return None if since_ms is None else min((now_ms - since_ms) // DAY_MS, MAX_DAYS)


def _whole_days(instants: Sequence[int | None], after_ms: int, upto_ms: int) -> list[int]:
    """Return the whole days after one of ``instants`` that are in ``(after_ms, upto_ms]``, sorted."""
    found: set[int] = set()
    for since_ms in instants:
        if since_ms is not None:
            at = after_ms + DAY_MS - (after_ms - since_ms) % DAY_MS
            found.update(range(at, upto_ms + 1, DAY_MS))
    return sorted(found)
