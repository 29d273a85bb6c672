"""Measure a population, of which there are quantiles or shares, as the next version of its model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from segops.config import Settings
from segops.core.errors import UserError
from segops.core.scans import VOTES, Measured, groups_in, population_named, populations_read
from segops.core.scoring.affinity import AffinityScore, shares_of
from segops.core.scoring.models import Model
from segops.core.scoring.population import edges_of
from segops.core.values import format_instant
from segops.kafka.definitions import DefinitionLog, read
from segops.operations.models import library_of, unknown
from segops.operations.scans import Progress, patient_scan
from segops.schemas.affinities import VALUES, written_affinity
from segops.schemas.models import read_model
from segops.schemas.populations import written_population
from segops.schemas.scans import PopulationRequest, Scanned
from segops.wall_clock import wall_ms

#: The fewest customers whose shares are those of a population.
LEAST_VOTERS: Final = 20


class Measurement(NamedTuple):
    """A measured population: its edges by measure, and the model, which is not published yet.

    ``shares``: of an affinity, those of values instead, the greatest first.
    """

    model: Model
    edges: dict[str, tuple[Any, ...]]
    profiles: int
    measured_at_ms: int
    shares: Mapping[str, float] = MappingProxyType({})


async def measure(
    settings: Settings, name: str, *, wait_s: float, progress: Callable[[Progress], None] = lambda _: None
) -> Measurement:
    """Measure the population of the model ``name``, such as ``rfm``, over all profiles.

    Raises UserError if no published segment reads it, of an affinity also with too few customers, and what
    ``operations.scans.scan`` raises.
    """
    log = await read(settings)
    try:
        population = population_named(name, log.live.values())
    except UserError as error:
        known = ", ".join(populations_read(log.live.values())) or "none"
        raise UserError(f"{error}; read by published segments: {known}") from None
    scanned = await patient_scan(settings, PopulationRequest((name,)), wait_s=wait_s, progress=progress)
    if isinstance(population, AffinityScore):
        return affinity_measurement(_in_force(log, name), scanned, now_ms=wall_ms())
    return measurement(name, groups_in(population), scanned, now_ms=wall_ms())


def _in_force(log: DefinitionLog, name: str) -> Model:
    library = library_of(log)
    if not library.versions(name):
        raise UserError(unknown(library, name))
    return library.in_force(name).model


def affinity_measurement(model: Model, scanned: Scanned, *, now_ms: int) -> Measurement:
    """Return a model with the shares that a scan measured, and how events count as before.

    Raises UserError with fewer than ``LEAST_VOTERS`` customers.
    """
    measured: Measured = scanned.result.models[model.name]
    if measured.profiles < LEAST_VOTERS:
        raise UserError(
            f"{model.name}: {measured.profiles} customers have counts, at least {LEAST_VOTERS} are needed"
        )
    parameters = model.written["parameters"]
    shares = shares_of(measured.histograms[VOTES], parameters.get("values", VALUES))
    form = {
        **_head(model.name, measured.profiles, scanned.to_ms, now_ms),
        "parameters": written_affinity(
            parameters, shares, profiles=measured.profiles, measured_at_ms=scanned.to_ms
        ),
    }
    kept = {key: model.written[key] for key in ("forbid",) if key in model.written}
    return Measurement(read_model({**form, **kept}, model.name), {}, measured.profiles, scanned.to_ms, shares)


def _head(name: str, profiles: int, at_ms: int, now_ms: int) -> dict[str, Any]:
    trained_on = {"customers": profiles, "until": format_instant(at_ms), "source": "all profiles"}
    return {
        "name": name,
        "kind": "population",
        "fitted_at": format_instant(now_ms),
        "trained_on": trained_on,
    }


def measurement(name: str, groups: dict[str, int], scanned: Scanned, *, now_ms: int) -> Measurement:
    """Return what a scan measured; ``groups``: the number of groups of each measure.

    With fewer profiles than groups, the model has no edges and is not ready.
    """
    measured: Measured = scanned.result.models[name]
    at_ms, least = scanned.to_ms, max(groups.values())
    head = _head(name, measured.profiles, at_ms, now_ms)
    if measured.profiles < least:
        reason = f"{measured.profiles} customers have digits, at least {least} are needed"
        form = {**head, "status": "not_enough_data", "reasons": [reason]}
        return Measurement(read_model(form, name), {}, measured.profiles, at_ms)
    edges = edges_of(measured.histograms, groups, at_ms)
    parameters = written_population(
        edges, measured.histograms, profiles=measured.profiles, measured_at_ms=at_ms
    )
    model = read_model({**head, "parameters": parameters}, name)
    return Measurement(model, edges, measured.profiles, at_ms)
