"""The catalogue that the studio reads: from a file, or that of the running system."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from segops.catalogue import published
from segops.catalogue.views import views
from segops.cli._kafka import run
from segops.config import Settings
from segops.kafka import definitions
from segops.operations.completing import models_in_force
from segops.studio import live
from segops.studio.catalogue import StudioCatalogue
from segops.studio.documents import load_catalogue

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
    """Return the catalogue of the running system. Raises UserError if nothing was counted yet."""
    entries = await published.read(settings)
    events, traits = views(entries, profiles=settings.catalogue.profiles)
    log = await definitions.read(settings, on_bad=lambda _: None)
    return live.catalogue_of(events, traits, log.definitions(), models_in_force(log).values())
