"""``segops train``: models of what follows, learnt from the stream, or from a file of events in one go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import click
import msgspec

from segops.archive.storage import require_pyarrow
from segops.cli._edits import limited, limits_in
from segops.cli._input import Input
from segops.cli._models import YES, publish_model
from segops.cli._params import DURATION, formats
from segops.cli._say import say, say_blocks, say_text, warn
from segops.cli._service import serve
from segops.cli._training import blocks, plot
from segops.config import Settings, load
from segops.core.errors import UserError
from segops.core.events import Event
from segops.core.scoring.models import Model
from segops.core.training.decisions import Task
from segops.core.training.report import TrainingReport
from segops.logs import start_logging
from segops.metrics import Metrics
from segops.operations.models import next_version
from segops.schemas.identifying import limits_of
from segops.schemas.models import read_model
from segops.training.features import load_features
from segops.training.making import HORIZONS, TARGET, Making, write_model
from segops.training.observer import Observer
from segops.training.publishing import models_in_force, publish_report
from segops.training.service import Publish, TrainingService
from segops.wall_clock import wall_ms

_EPILOG = """
\b
Examples:
  segops train convert_24h --from events.jsonl.gz --model models/
  segops train convert_24h convert_7d --publish
  segops train subscribes --event "Subscription Started" --horizon 14d --from events.jsonl
"""
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(epilog=_EPILOG)
@click.argument("models", nargs=-1)
@click.option(
    "--event",
    "targets",
    multiple=True,
    help="Name of the event that is foretold; may be repeated. [Order Completed]",
)
@click.option(
    "--horizon", "horizon_ms", type=DURATION, help="Within which time it is to follow. [that of the MODEL]"
)
@click.option(
    "--features",
    "features",
    type=_FILE,
    help="File (YAML or JSON) of the features, instead of the default ones.",
)
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Train on a file of events (.jsonl, .jsonl.gz, or -) or a folder of the archive, and end.",
)
@click.option(
    "--model",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write model files to. [SEGOPS_TRAIN_FOLDER]",
)
@click.option(
    "--plot",
    "plot_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the calibration curve to this file, as SVG.",
)
@click.option(
    "--publish",
    is_flag=True,
    help="Publish each model that passes its gates, unless the one in force foretells better.",
)
@click.option("--force", is_flag=True, help="Publish without a comparison with the model in force.")
@limited
@YES
@formats(["text", "json"], default="text")
@click.option(
    "--web-port", type=click.IntRange(0, 65_535), help="Port of the HTTP server. [SEGOPS_TRAIN_WEB_PORT]"
)
def command(
    *,
    models: tuple[str, ...],
    targets: tuple[str, ...],
    horizon_ms: int | None,
    features: Path | None,
    source: Path | None,
    folder: Path | None,
    plot_file: Path | None,
    publish: bool,
    force: bool,
    yes: bool,
    form: str,
    web_port: int | None,
    **limits: float,
) -> None:
    """Learn how likely an event follows: MODELS convert_24h, convert_7d (both by default) or of another name.

    With --from, trains on a file in one go. Without it, follows the profile events until Ctrl-C, makes models
    at intervals (SEGOPS_TRAIN_INTERVAL), and measures those in force. A model that does not pass its gates is
    written with the reasons; its score is then missing. One whose features know the future is not written.
    """
    given = {"web_port": web_port, "folder": folder}
    settings = load(train={name: value for name, value in given.items() if value is not None})
    tasks = tuple(_task(name, targets, horizon_ms) for name in models or HORIZONS)
    of = load_features(features, zone=settings.train.zone)
    making = Making(tasks, of, "-" if source is None else source.name)
    if source is None:
        if plot_file is not None:
            raise UserError("--plot needs --from: a process makes many reports")
        start_logging(settings.worker.log_level)
        chosen = None if yes else limits_in(limits)
        publishes = partial(publish_report, settings, chosen) if publish else None
        asyncio.run(_serve(settings, making, publishes, force=force))
        return
    in_force = asyncio.run(models_in_force(settings)) if publish and not force else {}
    reports = _train(settings, making, source, in_force)
    for report in reports:
        if folder is not None:
            write_model(folder, report)
    _show(reports, form)
    if plot_file is not None:
        plot_file.write_text(plot(reports), "utf-8")
    if publish:
        _publish(reports, limits, yes=yes)


def _task(name: str, targets: tuple[str, ...], horizon_ms: int | None) -> Task:
    horizon = HORIZONS.get(name)
    if horizon is not None and horizon_ms not in (None, horizon):
        raise UserError(f"the horizon of {name} is part of its name: choose another name for another horizon")
    if horizon is None and horizon_ms is None:
        raise UserError(f"--horizon is missing: only {' and '.join(HORIZONS)} have one")
    return Task(name, targets or (TARGET,), horizon or horizon_ms or 0)


def _train(
    settings: Settings, making: Making, source: Path, in_force: Mapping[str, Model]
) -> list[TrainingReport]:
    observer = making.observer(settings.train, limits_of(settings), wall_ms=wall_ms())
    found = None if source.is_dir() else Input(source, observer.replay)
    for owner, event in _archived(settings, observer, source) if found is None else found:
        observer.event(owner, event)
    observer.finish()
    for note in () if found is None else found.notes():
        say(note, err=True)
    if observer.first_ms is None:
        raise UserError(f"{source}: no event to train on")
    return making.reports(observer, now_ms=wall_ms(), in_force=in_force)


def _archived(settings: Settings, observer: Observer, folder: Path) -> Iterator[tuple[str, Event]]:
    require_pyarrow()
    from segops.training.archived import archived_events

    return archived_events(folder, settings, observer.inputs.segments.context_keys)


def _show(reports: list[TrainingReport], form: str) -> None:
    if form == "json":
        say_text(msgspec.json.format(msgspec.json.encode(reports), indent=2).decode())
        return
    for report in reports:
        say_blocks(blocks(report))
    for report in reports:
        for leak in report.leaks:
            warn(f"{report.name} is refused: {leak}")


def _publish(reports: list[TrainingReport], limits: dict[str, float], *, yes: bool) -> None:
    for report in reports:
        if report.is_ready and not report.is_outdone and report.model is not None:
            model = read_model(report.model, report.name)
            publish_model(next_version(model, report.name), limits, yes=yes)
        else:
            warn(f"{report.name} is {report.verdict}: not published")


async def _serve(settings: Settings, making: Making, publish: Publish | None, *, force: bool) -> None:
    def start(metrics: Metrics, passed: Callable[[str], None]) -> TrainingService:
        in_force = partial(models_in_force, settings)
        return TrainingService(
            settings, metrics, making, passed=passed, in_force=in_force, publish=publish, force=force
        )

    await serve(
        settings,
        start,
        port=settings.train.web_port,
        variable="SEGOPS_TRAIN_WEB_PORT",
        what=f"training {', '.join(each.name for each in making.tasks)} on {settings.topics.profile_events}",
    )
