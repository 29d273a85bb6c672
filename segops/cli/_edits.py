"""What ``segops plan`` and ``apply`` share: the edit that files and options describe, and its limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from segops.cli._say import warn
from segops.core.errors import UserError
from segops.core.rules.blocks import names_of_models
from segops.core.scans import SHARE_FROM, Limits
from segops.kafka.definitions import DefinitionLog
from segops.operations.completing import models_in_force
from segops.operations.definitions import DefinitionChange, plan
from segops.operations.plans import Decide
from segops.operations.static_lists import not_uploaded
from segops.schemas import segments

_DEFAULT: Final = Limits()
PRUNE: Final = click.option(
    "--prune",
    is_flag=True,
    help="Retire segments and indicators that are not in PATHS; their keys stay reserved.",
)
RETIRE: Final = click.option(
    "--retire", multiple=True, metavar="KEY", help="Also retire this segment; its key stays reserved."
)
_MAX_CHANGES: Final = click.option(
    "--max-changes",
    type=click.IntRange(min=0),
    default=_DEFAULT.changes,
    show_default=True,
    help="The most changes of one segment.",
)


class Percentage(click.ParamType):
    """A percentage, as a share from 0 to 1."""

    name = "PERCENT"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the share."""
        try:
            share = float(value.removesuffix("%")) / 100
        except ValueError:
            share = 0.0
        if not 0 < share <= 1:
            self.fail(f"expected a percentage above 0% and up to 100%, got {value!r}", param, ctx)
        return share


_MAX_SHARE: Final = click.option(
    "--max-share",
    type=Percentage(),
    default=f"{100 * _DEFAULT.share:g}%",
    show_default=True,
    help=f"The greatest share of a segment that may change, from {SHARE_FROM:,} members on.",
)


def limited(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the limits to a command."""
    return _MAX_CHANGES(_MAX_SHARE(command))


def limits_in(options: Mapping[str, Any]) -> Limits:
    """Return the limits that the options of ``limited`` set."""
    return Limits(options["max_changes"], options["max_share"])


def edit_in(paths: Sequence[Path], *, prune: bool, retire: Sequence[str]) -> Decide:
    """Return the edit that publishes the definitions in files and folders. Raises DefinitionError."""
    loaded = segments.load_checked(paths)
    warn_of = warner(paths, loaded)
    if paths and not loaded.definitions:
        raise UserError(f"no segments in {', '.join(map(str, paths))}; see `segops audiences apply`")
    said: set[str] = set()

    def decide(log: DefinitionLog) -> list[DefinitionChange]:
        warn_of(log)
        changes = plan(log, loaded.all_definitions, prune=prune, retire=retire)
        for warning in not_uploaded(log, loaded.definitions):
            if warning not in said:  # it may be asked again
                warn(warning)
                said.add(warning)
        return changes

    return decide


def warner(paths: Sequence[Path], loaded: segments.Loaded) -> Callable[[DefinitionLog], None]:
    """Print the warnings about files, or return how to print them once the models in force are known.

    Whether the scores that rules read have a model, only the published ones say.
    """
    shown = not any(names_of_models(each.when) for each in loaded.all_definitions)
    for warning in loaded.warnings if shown else ():
        warn(str(warning))

    def warn_of(log: DefinitionLog) -> None:
        nonlocal shown
        if not shown:
            shown = True
            for warning in segments.load_drafts(paths, models_in_force(log)).warnings:
                warn(str(warning))

    return warn_of
