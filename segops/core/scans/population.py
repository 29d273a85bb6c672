"""The population that the edges of grids are quantiles of: histograms over all profiles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from segops.core.errors import UserError
from segops.core.features import reducer_of
from segops.core.profile import Profile
from segops.core.rules.blocks import grids_of
from segops.core.scoring.population import Histogram, added, count_totals, groups_of
from segops.core.scoring.rfm import Quantiles, Rfm
from segops.core.segments import Definition


class Measured(msgspec.Struct):
    """The histograms of one model, by measure, of the ``profiles`` that have the measures."""

    profiles: int
    histograms: dict[str, Histogram]

    def merged(self, other: Measured) -> Measured:
        """Return the histograms over the profiles of both."""
        both = {name: added(found, other.histograms[name]) for name, found in self.histograms.items()}
        return Measured(self.profiles + other.profiles, both)


class Populations(msgspec.Struct):
    """The histograms of models, by name."""

    models: dict[str, Measured]

    def merged(self, other: Populations) -> Populations:
        """Return the histograms over the profiles of both."""
        return Populations({name: found.merged(other.models[name]) for name, found in self.models.items()})


def grid_named(name: str, definitions: Iterable[Definition]) -> Rfm:
    """Return the grid of a population's model that published rules read.

    Raises UserError if no rule reads it, or if rules read different grids by this name.
    """
    found = {
        _unmeasured(each): None
        for definition in definitions
        for each in grids_of(definition.when)
        if isinstance(each.quantiles, Quantiles) and each.quantiles.model == name
    }
    if not found:
        raise UserError(f"no published segment reads a grid with quantiles of {name!r}")
    if len(found) > 1:
        raise UserError(f"published segments read {len(found)} different grids by the name {name!r}")
    return next(iter(found))


def _unmeasured(rfm: Rfm) -> Rfm:
    """Return what of a grid decides its population."""
    quantiles = Quantiles(getattr(rfm.quantiles, "model", ""), tuple(groups_of(rfm).items()))
    return Rfm(rfm.purchases, (), (), (), (), rfm.actions, quantiles)


def populations_read(definitions: Iterable[Definition]) -> list[str]:
    """Return the names of the populations of grids that rules read, sorted."""
    grids = (each for definition in definitions for each in grids_of(definition.when))
    return sorted({each.quantiles.model for each in grids if isinstance(each.quantiles, Quantiles)})


class _Counted(NamedTuple):
    """A grid, how to read it of a profile, and its histograms."""

    rfm: Rfm
    histograms: dict[str, Histogram]


class PopulationCounter:
    """Counts what all profiles have of the measures of ``grids``: model -> grid."""

    def __init__(self, grids: Mapping[str, Rfm]) -> None:
        self._counted = {
            name: _Counted(rfm, {measure: {} for measure in groups_of(rfm)}) for name, rfm in grids.items()
        }
        self._features = {name: (rfm.feature.id, reducer_of(rfm.feature)) for name, rfm in grids.items()}
        self._profiles = dict.fromkeys(grids, 0)

    def wants(self, profile_id: str) -> bool:
        """Return True: a population is of all profiles."""
        return True

    def visit(self, profile: Profile, now_ms: int) -> None:
        """Count one profile, if it has digits or would have them."""
        for name, counted in self._counted.items():
            key, reducer = self._features[name]
            read = reducer.read(profile.features.get(key), now_ms)
            if read.last_ms is not None:
                self._profiles[name] += 1
                count_totals(counted.histograms, read)

    def result(self) -> Populations:
        """Return the histograms over the profiles visited so far."""
        return Populations(dict(self._measured()))

    def _measured(self) -> Iterator[tuple[str, Measured]]:
        for name, counted in self._counted.items():
            histograms = {measure: added(found, {}) for measure, found in counted.histograms.items()}
            yield name, Measured(self._profiles[name], histograms)
