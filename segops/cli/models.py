"""``segops models``: the scoring models that published segments read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, cast

import click
import msgspec

from segops.cli._edits import limited
from segops.cli._kafka import run
from segops.cli._models import MODEL_FILE, YES, publish_model, write_model
from segops.cli._params import formats
from segops.cli._populations import refresh
from segops.cli._say import say, say_all, say_table, warn
from segops.core.values import format_instant
from segops.operations import models
from segops.operations.models import ListedModel, earlier_version, next_version
from segops.schemas.model_files import load_model, load_models
from segops.schemas.model_views import ModelView, doubts, view_model
from segops.schemas.models import read_model, written
from segops.wall_clock import wall_ms

_EPILOG = """
\b
Examples:
  segops models publish buying.json
  segops models list
  segops models rollback buying
  segops models refresh rfm --every 24h
  segops models import churn.json --name churn_model --features churn-features.yaml --model churn_model.json
"""
_NUMBERS: Final = ("version", "segments")


@click.group(epilog=_EPILOG)
def command() -> None:
    """Publish, show and bring back the scoring models that segments read.

    A model is part of each published segment that reads one of its scores: a new version is published with
    those segments, all or nothing, and their effect is planned first. `segops fit` makes models of how
    customers buy.
    """


@command.command("list", epilog="Example: segops models list --format jsonl")
@formats(["table", "jsonl"])
def list_(form: str) -> None:
    """List the models in force: kind, status, how long they are valid, and how many segments read them."""
    found, now_ms = run(models.listed), wall_ms()
    views = [view_model(each.published, each.versions, each.used_by, now_ms=now_ms) for each in found]
    if form == "jsonl":
        for view in views:
            say(msgspec.json.encode(view).decode())
    elif views:
        columns = ("model", "version", "kind", "status", "fitted", "valid until", "segments")
        say_table(columns, map(_row, found, views), figures=_NUMBERS)
    else:
        say("no model is published")


def _row(listed: ListedModel, view: ModelView) -> tuple[str, ...]:
    model = listed.published.model
    until = "" if model.valid_until_ms is None else format_instant(model.valid_until_ms)
    stale = " (stale)" if view.stale else ""
    count = f"{len(listed.used_by):,}"
    fitted = format_instant(model.fitted_at_ms)
    return model.name, str(model.version), model.kind, model.status, fitted, f"{until}{stale}", count


@command.command(epilog="Example: segops models show buying --version 2 --format json > buying-2.json")
@click.argument("name")
@click.option("--version", type=click.IntRange(min=1), help="This version; without it, the one in force.")
@formats(["text", "json"], default="text")
def show(name: str, *, version: int | None, form: str) -> None:
    """Show a version of the model NAME: on what it was fitted, how good it is, and who reads it.

    --format json prints the model file. The latest 20 versions of a model are kept.
    """
    found = run(lambda settings: models.shown(settings, name, version))
    model = found.published.model
    if form == "json":
        write_model(written(model), None)
        return
    for line in doubts(model, wall_ms()):
        warn(line)
    say_all(_lines(found))


def _lines(found: ListedModel) -> Iterator[str]:
    model, published = found.published.model, found.published
    restores = "" if published.restores is None else f", which is version {published.restores} again"
    yield f"{model.name}  version {model.version}{restores}"
    yield f"kind: {model.kind}, {model.status}"
    yield f"scores: {', '.join(model.scores)}"
    yield f"fitted {format_instant(model.fitted_at_ms)}, published {format_instant(published.published_ms)}"
    if model.valid_until_ms is not None:
        yield f"valid until {format_instant(model.valid_until_ms)}"
    for title, values in (("trained on", model.trained_on), ("quality", model.quality)):
        if values:
            yield f"{title}: {', '.join(map(_pair, values.items()))}"
    yield f"read by: {', '.join(found.used_by) or 'no published segment'}"
    yield f"versions kept: {', '.join(map(str, found.versions))}"


def _pair(item: tuple[str, Any]) -> str:
    name, value = item
    return f"{name} {value}" if isinstance(value, str) else f"{name} {msgspec.json.encode(value).decode()}"


@command.command(epilog="Example: segops models publish buying.json --dry-run")
@click.argument("file", type=MODEL_FILE)
@click.option("--dry-run", is_flag=True, help="Show who would enter and leave, without publishing.")
@limited
@YES
@formats(["text", "json"], default="text")
def publish(file: Path, *, dry_run: bool, yes: bool, form: str, **limits: float) -> None:
    """Publish the model in FILE as the next version of its name, and the segments that read it.

    Just before, the workers compute who enters and leaves, as for `segops plan`. If it moves more of a
    segment than --max-changes or --max-share allow, nothing is published. The version in FILE is left out,
    or is the next one. A model that is not ready is published, too: its scores are then missing.
    """
    choose = next_version(load_model(file), str(file))
    publish_model(choose, limits, form=form, yes=yes, dry_run=dry_run)


@command.command(epilog="Example: segops models rollback buying 3")
@click.argument("name")
@click.argument("version", required=False, type=click.IntRange(min=1))
@click.option("--dry-run", is_flag=True, help="Show who would enter and leave, without publishing.")
@limited
@YES
@formats(["text", "json"], default="text")
def rollback(name: str, version: int | None, *, dry_run: bool, yes: bool, form: str, **limits: float) -> None:
    """Bring back an earlier VERSION of the model NAME, as a new version; by default the one before.

    The effect is computed, and limited, as by `segops models publish`.
    """
    publish_model(earlier_version(name, version), limits, form=form, yes=yes, dry_run=dry_run)


@command.command(epilog="Example: segops models check models/*.json")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=MODEL_FILE)
def check(files: Sequence[Path]) -> None:
    """Check model files, and report every error with its file, place and reason.

    Exit status 0: the models can be published. 2: they cannot. Warnings do not count.
    """
    for model in load_models(files).values():
        for line in doubts(model, wall_ms()):
            warn(line)
        say(f"{model.name}: {model.kind}, {model.status}: OK")


@command.command("import", epilog="Example: segops models import c.json --name churn --features f.yaml")
@click.argument("file", type=MODEL_FILE)
@click.option("--name", required=True, metavar="NAME", help="The name of the model, and of its score.")
@click.option(
    "--features", "mapping", required=True, type=MODEL_FILE, help="File: which figure each feature is."
)
@click.option(
    "--kind",
    type=click.Choice(["logistic", "linear"]),
    help="Of coefficients; without it, logistic if FILE has classes_, else linear.",
)
@click.option(
    "--model", "to", type=click.Path(dir_okay=False, path_type=Path), help="Write the model to this file."
)
def import_(file: Path, *, name: str, mapping: Path, kind: str | None, to: Path | None) -> None:
    """Make a model file of the coefficients or trees in FILE, JSON as scikit-learn names them.

    Coefficients: feature_names_in_, coef_, intercept_ and perhaps classes_. Trees: feature_names_in_ and
    trees, each with children_left, children_right, feature, threshold and value; perhaps learning_rate, init,
    average and link. No pickle is read.
    """
    from segops.fitting.imported import Kind, imported

    made = imported(file, mapping, name=name, kind=cast("Kind | None", kind))
    form = {**made, "fitted_at": format_instant(wall_ms()), "trained_on": {"source": file.name}}
    model = read_model(form, str(mapping))
    write_model(written(model), to)


command.add_command(refresh)
