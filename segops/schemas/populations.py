"""The parameters of models of kind ``population``: edges by measure, and how many profiles were measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from segops.core.rules.parsing import GRID_PATTERN, RFM_MODEL, Reader, Reads
from segops.core.scoring.models import AFFINITY, AffinityParameters, PopulationParameters
from segops.core.scoring.population import is_rising
from segops.core.values import format_instant
from segops.schemas.affinities import read_affinity

#: The names that models of this kind may have.
POPULATION_PATTERN: Final = f"^({RFM_MODEL}|({RFM_MODEL}|percentile|affinity)\\.{GRID_PATTERN.strip('^$')})$"
MAX_EDGES: Final = 999
#: The greatest number of bars of a histogram in a model file.
MAX_BARS: Final = 100

#: Key of the edges in a file -> the measure.
_MEASURES: Final = {
    "recency_ms": "recency",
    "frequency": "frequency",
    "monetary": "monetary",
    "score": "score",
}
_KEYS: Final = {measure: key for key, measure in _MEASURES.items()}


def read_population(form: Reader) -> PopulationParameters | AffinityParameters:
    """Read the ``parameters`` of a model form. Raises DefinitionError with every mistake."""
    if str(form.raw.get("name")).startswith(AFFINITY):
        return read_affinity(form)
    at = Reader(form.raw.get("parameters"), f"{form.path}.parameters".lstrip("."), form.context)
    reads: Reads = {
        "edges": _edges,
        "profiles": partial(Reader.integer, least=1),
        "measured_at": Reader.instant,
    }
    example = "{edges: {frequency: [1, 2, 4, 8]}, profiles: 2357, measured_at: 2026-11-27T08:00:00Z}"
    edges, profiles, measured_at_ms, _ = at.record(reads, example, {"histogram": _histogram})
    return PopulationParameters(edges, profiles, measured_at_ms)


def written_population(
    edges: Mapping[str, tuple[Any, ...]],
    histograms: Mapping[str, Mapping[str, int]],
    *,
    profiles: int,
    measured_at_ms: int,
) -> dict[str, Any]:
    """Return the form of parameters that ``read_population`` reads, with at most ``MAX_BARS`` bars each."""
    return {
        "edges": {_KEYS[name]: [_plain(edge) for edge in found] for name, found in edges.items()},
        "profiles": profiles,
        "measured_at": format_instant(measured_at_ms),
        "histogram": {name: _bars(found) for name, found in histograms.items()},
    }


def _plain(edge: Any) -> int | float:
    return int(edge) if edge == int(edge) else float(edge)


def _bars(histogram: Mapping[str, int]) -> list[list[int | float]]:
    """Return the greatest value and the number of profiles of each bar, of about equal numbers of values."""
    rows = sorted((float(value), count) for value, count in histogram.items())
    size = -(-len(rows) // MAX_BARS) or 1
    bars = [rows[at : at + size] for at in range(0, len(rows), size)]
    return [[_plain(bar[-1][0]), sum(count for _, count in bar)] for bar in bars]


def _edges(form: Reader) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    found = form.fields({key: partial(_rising, read=read) for key, read in _READS.items()})
    return tuple((_MEASURES[key], edges) for key, edges in found.items())


def _rising(form: Reader, read: Callable[[Reader], Any]) -> tuple[Any, ...]:
    items = form.items(f"a list of 1 to {MAX_EDGES} edges", MAX_EDGES)
    edges = tuple(form.gather(*(partial(read, each) for each in items)))
    if not is_rising(edges):
        form.fail("expected edges of which none is below the one before")
    return edges


def _whole(form: Reader) -> int:
    return form.integer(0)


def _number(form: Reader) -> Any:
    form.scalar()
    return form.number()


#: Key of the edges in a file -> the reader of one edge.
_READS: Final[dict[str, Callable[[Reader], Any]]] = {
    "recency_ms": _whole,
    "frequency": _whole,
    "monetary": _number,
    "score": _number,
}


def _histogram(form: Reader) -> None:
    """Check the bars that are shown; no score depends on them."""
    if not isinstance(form.raw, dict):
        form.fail(f"expected a map of measures to bars, got {form.raw!r:.40}")
    for name, bars in form.raw.items():
        items = Reader(bars, f"{form.path}.{name}", form.context).items(
            f"a list of 1 to {MAX_BARS} bars [value, count]", MAX_BARS
        )
        for each in items:
            if not isinstance(each.raw, list) or len(each.raw) != 2:
                each.fail(f"expected a value and a count, got {each.raw!r:.40}")
            for part in each.raw:
                _number(each.with_raw(part))
