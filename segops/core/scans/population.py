"""Populations: histograms over all profiles for the edges of grids and scores, votes for shares of values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from segops.core.errors import UserError
from segops.core.features import reducer_of
from segops.core.profile import Profile
from segops.core.rules.blocks import affinities_of, grids_of, percentiles_of
from segops.core.rules.execution import reading_of
from segops.core.rules.figures import ScoreFigure
from segops.core.scoring.affinity import AffinityScore, votes
from segops.core.scoring.population import (
    PERCENTILES,
    SCORE,
    Histogram,
    added,
    count_in,
    count_totals,
    groups_of,
)
from segops.core.scoring.rfm import Quantiles, Rfm
from segops.core.segments import Definition
from segops.core.values import kind

#: The measure of an affinity: votes by value instead of profiles.
VOTES: Final = "votes"
#: The most values of an affinity that a partition answers with, those with the most votes.
MAX_VOTED: Final = 5_000


def _most_voted(one: Mapping[str, int], other: Mapping[str, int]) -> Histogram:
    """Return the votes of both, the most first."""
    found = {value: one.get(value, 0) + other.get(value, 0) for value in one.keys() | other.keys()}
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


#: Measure -> how to add two histograms; others are of numbers.
_MERGED: Final = {VOTES: _most_voted}


class Measured(msgspec.Struct):
    """The histograms of one model, by measure, of the ``profiles`` that have the measures."""

    profiles: int
    histograms: dict[str, Histogram]

    def merged(self, other: Measured) -> Measured:
        """Return the histograms over the profiles of both."""
        both = {
            name: _MERGED.get(name, added)(found, other.histograms[name])
            for name, found in self.histograms.items()
        }
        return Measured(self.profiles + other.profiles, both)


class Populations(msgspec.Struct):
    """The histograms of models, by name."""

    models: dict[str, Measured]

    def merged(self, other: Populations) -> Populations:
        """Return the histograms over the profiles of both."""
        return Populations({name: found.merged(other.models[name]) for name, found in self.models.items()})


Population = Rfm | ScoreFigure | AffinityScore


def population_named(name: str, definitions: Iterable[Definition]) -> Population:
    """Return the grid or the score whose population a model describes that published rules read.

    Raises UserError if no rule reads it, or if rules read different grids by this name.
    """
    found = {of: None for model, of in _read_by(definitions) if model == name}
    if not found:
        raise UserError(f"no published segment reads quantiles of {name!r}")
    if len(found) > 1:
        raise UserError(f"published segments read {len(found)} different grids by the name {name!r}")
    return next(iter(found))


def _read_by(definitions: Iterable[Definition]) -> Iterator[tuple[str, Population]]:
    for definition in definitions:
        for grid in grids_of(definition.when):
            if isinstance(grid.quantiles, Quantiles):
                yield grid.quantiles.model, _unmeasured(grid)
        for figure in percentiles_of(definition.when):
            yield figure.model, figure.score
        for name, score in affinities_of(definition.when):
            yield name, msgspec.structs.replace(score, shares=(), of=None, measured=False)


def _unmeasured(rfm: Rfm) -> Rfm:
    """Return what of a grid decides its population."""
    quantiles = Quantiles(getattr(rfm.quantiles, "model", ""), tuple(groups_of(rfm).items()))
    return Rfm(rfm.purchases, (), (), (), (), rfm.actions, quantiles)


def populations_read(definitions: Iterable[Definition]) -> list[str]:
    """Return the names of the populations that rules read, sorted."""
    return sorted({name for name, _ in _read_by(definitions)})


def groups_in(population: Population) -> dict[str, int]:
    """Return the measures of a population, with the numbers of groups into which it is divided."""
    if isinstance(population, AffinityScore):
        return {}
    return groups_of(population) if isinstance(population, Rfm) else {SCORE: PERCENTILES}


class _Counted(NamedTuple):
    """How to count one profile in the histograms of a population: returns whether it has the measures."""

    visit: Callable[[Profile, int], bool]
    histograms: dict[str, Histogram]


def _counted(population: Population) -> _Counted:
    histograms: dict[str, Histogram] = {measure: {} for measure in groups_in(population)}
    if isinstance(population, AffinityScore):
        return _voting(population)
    if isinstance(population, Rfm):
        key, reducer = population.feature.id, reducer_of(population.feature)

        def count_grid(profile: Profile, now_ms: int) -> bool:
            read = reducer.read(profile.features.get(key), now_ms)
            if read.last_ms is not None:
                count_totals(histograms, read)
            return read.last_ms is not None

        return _Counted(count_grid, histograms)
    reading = reading_of(population)

    def count_score(profile: Profile, now_ms: int) -> bool:
        value = reading.value(reading.read(profile, now_ms), now_ms)
        if kind(value) != "number":
            return False
        count_in(histograms[SCORE], value)
        return True

    return _Counted(count_score, histograms)


def _voting(score: AffinityScore) -> _Counted:
    key, voted = score.feature.id, Histogram()

    def vote(profile: Profile, now_ms: int) -> bool:
        found = votes(score, profile.features.get(key), now_ms)
        for value, part in found.items():
            voted[value] = voted.get(value, 0) + part
        return bool(found)

    return _Counted(vote, {VOTES: voted})


class PopulationCounter:
    """Counts what all profiles have of the measures of ``populations``, by model."""

    share: Final = 1.0

    def __init__(self, populations: Mapping[str, Population]) -> None:
        self._counted = {name: _counted(each) for name, each in populations.items()}
        self._profiles = dict.fromkeys(populations, 0)

    def visit(self, profile: Profile, now_ms: int) -> None:
        """Count one profile, if it has the measures."""
        for name, counted in self._counted.items():
            self._profiles[name] += counted.visit(profile, now_ms)

    def result(self) -> Populations:
        """Return the histograms over the profiles visited so far."""
        return Populations(dict(self._measured()))

    def _measured(self) -> Iterator[tuple[str, Measured]]:
        for name, counted in self._counted.items():
            histograms = {
                measure: _MERGED.get(measure, added)(found, {})
                for measure, found in counted.histograms.items()
            }
            if VOTES in histograms:
                histograms[VOTES] = dict(list(histograms[VOTES].items())[:MAX_VOTED])
            yield name, Measured(self._profiles[name], histograms)
