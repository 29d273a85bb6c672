"""The catalogue of a running system: what was counted, and what is published."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from segops.catalogue.views import EventView, catalogue_form, currency_of
from segops.core.errors import UserError
from segops.core.rules.blocks import names_of_scores
from segops.core.scoring import SCORERS
from segops.core.scoring.rfm import GRID
from segops.core.segments import Definition
from segops.studio.catalogue import StudioCatalogue
from segops.studio.documents import comparable

LIVE: Final = "catalogue"
_CURRENCY: Final = "EUR"


def catalogue_of(
    events: Sequence[EventView], traits: EventView | None, definitions: Iterable[Definition]
) -> StudioCatalogue:
    """Return the catalogue of events and traits as counted, and of the definitions that are in use.

    Raises UserError if nothing was counted yet.
    """
    if not events and traits is None:
        raise UserError("the catalogue is empty; `segops catalogue run` counts events")
    further = {**_published([*definitions]), "currency": currency_of(events) or _CURRENCY}
    form = catalogue_form(events, traits, further=further)
    return StudioCatalogue.from_document(comparable(form), LIVE)


def _published(known: Sequence[Definition]) -> dict[str, Any]:
    scores = {name for each in known for name in (*(each.scores or ()), *names_of_scores(each.when))}
    return {
        "segments": sorted(each.key for each in known),
        "scores": dict.fromkeys([*SCORERS, *sorted(scores - SCORERS.keys())], "number"),
        "rfm": list(GRID),
        "places": {name: place for each in known for name, place in _points(each)},
    }


def _points(definition: Definition) -> Iterator[tuple[str, Any]]:
    """Yield the places of a definition that are points."""
    for name, area in (definition.areas or {}).items():
        if isinstance(area, dict) and area.keys() == {"lat", "lon"}:
            yield name, area
