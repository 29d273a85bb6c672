"""Measure the population that the edges of grids are quantiles of, as the next version of its model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from segops.config import Settings
from segops.core.errors import UserError
from segops.core.scans import Measured, groups_in, population_named, populations_read
from segops.core.scoring.models import Model
from segops.core.scoring.population import edges_of
from segops.core.values import format_instant
from segops.kafka.definitions import read
from segops.operations.scans import Progress, patient_scan
from segops.schemas.models import read_model
from segops.schemas.populations import written_population
from segops.schemas.scans import PopulationRequest, Scanned
from segops.wall_clock import wall_ms


class Measurement(NamedTuple):
    """A measured population: its edges by measure, and the model, which is not published yet."""

    model: Model
    edges: dict[str, tuple[Any, ...]]
    profiles: int
    measured_at_ms: int


async def measure(
    settings: Settings, name: str, *, wait_s: float, progress: Callable[[Progress], None] = lambda _: None
) -> Measurement:
    """Measure the population of the model ``name``, such as ``rfm``, over all profiles.

    Raises UserError if no published segment reads it, and what ``operations.scans.scan`` raises.
    """
    log = await read(settings)
    try:
        population = population_named(name, log.live.values())
    except UserError as error:
        known = ", ".join(populations_read(log.live.values())) or "none"
        raise UserError(f"{error}; read by published segments: {known}") from None
    scanned = await patient_scan(settings, PopulationRequest((name,)), wait_s=wait_s, progress=progress)
    return measurement(name, groups_in(population), scanned, now_ms=wall_ms())


def measurement(name: str, groups: dict[str, int], scanned: Scanned, *, now_ms: int) -> Measurement:
    """Return what a scan measured; ``groups``: the number of groups of each measure.

    With fewer profiles than groups, the model has no edges and is not ready.
    """
    measured: Measured = scanned.result.models[name]
    at_ms, least = scanned.to_ms, max(groups.values())
    trained_on = {"customers": measured.profiles, "until": format_instant(at_ms), "source": "all profiles"}
    head = {
        "name": name,
        "kind": "population",
        "fitted_at": format_instant(now_ms),
        "trained_on": trained_on,
    }
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
