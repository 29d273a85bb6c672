"""The catalogue of a running system: what was counted, and what is published."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from segops.catalogue.views import EventView, catalogue_form, currency_of
from segops.core.errors import UserError
from segops.core.rules.blocks import names_of_scores
from segops.core.scoring import SCORERS
from segops.core.scoring.models import INTENT, ORDER_SCORES, SPENDING, Model, models_of
from segops.core.scoring.rfm import GRID
from segops.core.segments import Definition
from segops.studio.catalogue import StudioCatalogue
from segops.studio.documents import comparable

LIVE: Final = "catalogue"
_CURRENCY: Final = "EUR"
_POPULATION: Final = "population"
_PROBABILITY: Final = {"kind": "0..1", "likely": 0.5}
_KINDS: Final = {"p_alive": _PROBABILITY, "churn_risk": _PROBABILITY, "next_order_at": "date"}


def catalogue_of(
    events: Sequence[EventView],
    traits: EventView | None,
    definitions: Iterable[Definition],
    models: Iterable[Model] = (),
) -> StudioCatalogue:
    """Return the catalogue of what was counted, of the definitions in use and of the models in force.

    The scores are those that segments read and those of models that are ready. Raises UserError if nothing
    was counted yet.
    """
    if not events and traits is None:
        raise UserError("the catalogue is empty; `segops catalogue run` counts events")
    currency = currency_of(events) or _CURRENCY
    further = {**_published([*definitions]), "currency": currency}
    further["scores"] |= scores_of(models, currency)
    form = catalogue_form(events, traits, further=further)
    return StudioCatalogue.from_document(comparable(form), LIVE)


def scores_of(models: Iterable[Model], currency: str) -> dict[str, Any]:
    """Return the scores that models give, each with its kind, as a catalogue has them.

    A probability is called likely from one half on: then it is more likely than not.

    >>> scores_of([Model("spending", "gamma-gamma", None, status="not_enough_data")], "EUR")
    {}
    """
    ready = {each.name: each for each in models if each.is_ready and each.kind != _POPULATION}
    names = dict.fromkeys(score for each in ready.values() for score in each.scores)
    return {
        name: _kind_of(name, ready, currency)
        for name in names
        if all(needed in ready for needed in models_of(name))
    }


def _kind_of(name: str, models: Mapping[str, Model], currency: str) -> Any:
    if name in _KINDS:
        return _KINDS[name]
    if name in ORDER_SCORES:
        parameters = models[SPENDING].parameters if SPENDING in ORDER_SCORES[name] else None
        own = getattr(parameters, "currency", None)
        return "number" if parameters is None else own or currency
    parameters = models[models_of(name)[0]].parameters
    is_logistic = (
        getattr(parameters, "logistic", False) or getattr(parameters, "calibration", None) is not None
    )
    return _PROBABILITY if is_logistic and name != INTENT else "number"


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
