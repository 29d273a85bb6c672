"""What ``segops models`` and ``segops fit`` share: model files, and the publication of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click
import msgspec

from segops.cli._changes import print_changes
from segops.cli._edits import limits_in
from segops.cli._kafka import run
from segops.cli._plan_view import details, edited, notes, plan_table
from segops.cli._say import say, say_all, say_blocks, say_text, warn
from segops.cli._scans import reporting, say_json, when
from segops.config import Settings
from segops.core.errors import UserError
from segops.core.scans import beyond
from segops.operations import models
from segops.operations.models import Choose, Publication
from segops.operations.plans import Effect, Wait
from segops.schemas.model_views import ChangeView, PublicationView, doubts
from segops.schemas.scan_views import PlanView, view_plan
from segops.wall_clock import wall_ms

_ANSWERS_S: Final = 600.0
MODEL_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
YES: Final = click.option("--yes", is_flag=True, help="Publish without asking the workers how much it moves.")


def write_model(form: dict[str, Any], file: Path | None, *, err: bool = False) -> None:
    """Write the form of a model to a file, or print it; ``err``: say so on standard error.

    Raises UserError if the file cannot be written.
    """
    text = msgspec.json.format(msgspec.json.encode(form), indent=2).decode()
    if file is None:
        say_text(text)
        return
    try:
        file.write_text(f"{text}\n", "utf-8")
    except OSError as error:
        raise UserError(f"{file}: cannot be written: {error.strerror}") from None
    say(f"wrote {file}", err=err)


def publish_model(
    choose: Choose, options: dict[str, Any], *, form: str = "text", yes: bool, dry_run: bool = False
) -> None:
    """Publish a version of a model, and print what it changes; ``options``: those of ``limited``."""
    limits, effects = limits_in(options), list[PlanView]()

    def shown(effect: Effect) -> None:
        moved = beyond(effect.plan, limits, effect.new)
        effects.append(view_plan(None, effect.scanned, edited(effect), moved))
        if form == "text":
            _print_effect(effects[-1])

    async def work(settings: Settings) -> Publication:
        with reporting() as report:
            wait, chosen = Wait(_ANSWERS_S, report), None if yes else limits
            return await models.publish(
                settings, choose, limits=chosen, wait=wait, shown=shown, dry_run=dry_run
            )

    found = run(work)
    if form == "json":
        model = found.published.model
        view = PublicationView(
            model.name,
            model.version,
            model.kind,
            model.status,
            found.published.restores,
            not dry_run,
            [ChangeView(each.key, each.action, each.version, each.waits) for each in found.changes],
            effects[-1] if effects else None,
        )
        say_json(view)
    else:
        _print(found, dry_run=dry_run)


def _print_effect(view: PlanView) -> None:
    if view.segments:
        say_blocks([plan_table(view), *when(view)])
    else:
        say("no membership changes")
    for line in notes(view):
        warn(line)
    say_all(details(view))


def _print(found: Publication, *, dry_run: bool) -> None:
    model, restores = found.published.model, found.published.restores
    for line in doubts(model, wall_ms()):
        warn(line)
    note = "; nothing was written (dry run)" if dry_run else ""
    if found.changes:
        print_changes(found.changes, note=note)
    again = "" if restores is None else f", which is version {restores} again"
    verb = "would be" if dry_run else "is"
    say(f"{model.name}  version {model.version} {verb} in force{again}")
    if not found.changes:
        say(f"no published segment reads its scores ({', '.join(model.scores)}){note}")
