"""The catalogue that the studio reads: from a file, or that of the running system."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from segops.catalogue import published
from segops.catalogue.views import catalogue_form, currency_of, views
from segops.cli._kafka import run
from segops.config import Settings
from segops.core.errors import UserError
from segops.core.scoring import SCORERS
from segops.core.scoring.rfm import GRID
from segops.core.segments import Definition
from segops.kafka import definitions
from segops.kafka.definitions import DefinitionLog
from segops.studio.catalogue import StudioCatalogue
from segops.studio.documents import comparable, load_catalogue

LIVE: Final = "catalogue"
CATALOGUE: Final = click.option(
    "--catalogue",
    "file",
    type=click.Path(path_type=Path),
    help="File with the catalogue, as `segops catalogue --format yaml` prints it. [default: the live one]",
)
CATALOGUE_NAME: Final = click.option(
    "--catalogue-name", "name", metavar="NAME", help="Which of the `catalogues` in the file."
)


def catalogue_of(file: Path | None, name: str | None) -> StudioCatalogue:
    """Return the catalogue of a file, or the live one without a file. Raises UserError."""
    if file is not None:
        return load_catalogue(file, name)
    if name is not None:
        raise click.UsageError("--catalogue-name requires --catalogue")
    return run(live_catalogue)


async def live_catalogue(settings: Settings) -> StudioCatalogue:
    """Return what occurs in the running system: events and traits as counted, and what is published.

    Raises UserError if nothing was counted yet.
    """
    entries = await published.read(settings)
    events, traits = views(entries, profiles=settings.catalogue.profiles)
    if not events and traits is None:
        raise UserError("the catalogue is empty; `segops catalogue run` counts events")
    further = _further(await definitions.read(settings, on_bad=lambda _: None))
    form = catalogue_form(events, traits, further={**further, "currency": currency_of(events) or "EUR"})
    return StudioCatalogue.from_document(comparable(form), LIVE)


def _further(log: DefinitionLog) -> dict[str, Any]:
    known = log.definitions()
    scores = {name for each in known for name in each.scores or ()}
    return {
        "segments": sorted(log.live),
        "scores": dict.fromkeys([*SCORERS, *sorted(scores)], "number"),
        "rfm": list(GRID),
        "places": {name: place for each in known for name, place in _points(each)},
    }


def _points(definition: Definition) -> list[tuple[str, Any]]:
    """Return the places of a definition that are points."""
    areas = definition.areas or {}
    return [
        (name, area)
        for name, area in areas.items()
        if isinstance(area, dict) and area.keys() == {"lat", "lon"}
    ]
