"""``segops catalogue``: which events, properties and traits occur."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import click
import msgspec
import yaml

from segops.catalogue import published
from segops.catalogue.service import CatalogueService
from segops.catalogue.views import EventView, FieldView, catalogue_form, currency_of, views
from segops.cli._kafka import run
from segops.cli._say import say, say_table, say_text
from segops.cli._service import serve
from segops.config import Settings, load
from segops.core.errors import UserError
from segops.core.rules.parsing import Context, Reader
from segops.core.scoring import SCORERS
from segops.core.scoring.rfm import GRID
from segops.core.values import format_instant
from segops.kafka import definitions
from segops.logs import start_logging
from segops.metrics import Metrics

_EPILOG = """
\b
Examples:
  segops catalogue run
  segops catalogue
  segops catalogue "Order Completed"
  segops catalogue --format json > catalogue.json
"""
_TRAITS = "traits"


class _WithDefault(click.Group):
    """A group whose command ``show`` need not be named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["show", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_WithDefault, epilog=_EPILOG)
def command() -> None:
    """Show which events, properties and traits occur, how often and with which types.

    `run` counts them; `show`, which need not be named, shows them. No value of a single person is kept: a
    text is shown if it looks like a label, is one of few, and was seen on several profiles.
    """


class _Shown(NamedTuple):
    events: list[EventView]
    traits: EventView | None
    segments: list[str]


@command.command(epilog='Example: segops catalogue show "Order Completed" --format yaml')
@click.argument("event", required=False)
@click.option("--source", metavar="SOURCE", help="Show only what this source sent; - is none.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    show_default=True,
    help="Output format; json and yaml print one map of events, properties, traits and segments.",
)
@click.option("--zone", default="UTC", show_default=True, help="The time zone that json and yaml name.")
@click.option("--currency", help="The currency that json and yaml name. [default: the most frequent one]")
def show(event: str | None, source: str | None, format_: str, zone: str, currency: str | None) -> None:
    """Show all events, or the properties of EVENT (`traits`: those of profiles).

    With json and yaml, EVENT prints its counts: days, types, shares, values and ranges.
    """
    Reader(zone, "--zone", Context("command line")).zone()
    found = run(lambda settings: _read(settings, source))
    if not found.events and found.traits is None:
        raise UserError("the catalogue is empty; `segops catalogue run` counts events")
    if event is not None:
        _show_event(_one(found, event), format_)
    elif format_ == "table":
        _show_all(found)
    else:
        _say_map(catalogue_form(found.events, found.traits, further=_further(found, zone, currency)), format_)


@command.command("run", epilog="Example: SEGOPS_CATALOGUE_INTERVAL=1m segops catalogue run")
@click.option(
    "--web-port", type=click.IntRange(0, 65_535), help="Port of the HTTP server. [SEGOPS_CATALOGUE_WEB_PORT]"
)
def run_(web_port: int | None) -> None:
    """Count the events topic for the catalogue until Ctrl-C.

    Each record is counted exactly once, also over crashes. One process counts; a second one takes over, and
    the first one stops.
    """
    settings = load(**({} if web_port is None else {"catalogue": {"web_port": web_port}}))
    start_logging(settings.worker.log_level)
    asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    def start(metrics: Metrics, passed: Callable[[str], None]) -> CatalogueService:
        return CatalogueService(settings, metrics, passed=passed)

    await serve(
        settings,
        start,
        port=settings.catalogue.web_port,
        variable="SEGOPS_CATALOGUE_WEB_PORT",
        what=f"catalogue of {settings.topics.events}",
    )


async def _read(settings: Settings, source: str | None) -> _Shown:
    entries = await published.read(settings)
    events, traits = views(entries, source=source, profiles=settings.catalogue.profiles)
    segments = sorted((await definitions.read(settings, on_bad=lambda _: None)).live)
    return _Shown(events, traits, segments)


def _one(found: _Shown, event: str) -> EventView:
    named = {each.event: each for each in found.events}
    if event in named:
        return named[event]
    if event == _TRAITS and found.traits is not None:
        return found.traits
    raise UserError(f"unknown event {event!r}; `segops catalogue` lists those that occur")


def _further(found: _Shown, zone: str, currency: str | None) -> dict[str, Any]:
    return {
        "segments": found.segments,
        "scores": dict.fromkeys(SCORERS, "number"),
        "rfm": list(GRID),
        "places": {},
        "zone": zone,
        "currency": currency or currency_of(found.events),
    }


def _show_all(found: _Shown) -> None:
    columns = ("event", "count", "per day", "properties", "sources", "first", "last")
    rows = [*found.events, *([] if found.traits is None else [found.traits])]
    say_table(columns, map(_event_row, rows), figures=("count", "per day", "properties"))


def _event_row(each: EventView) -> tuple[str, ...]:
    per_day, number = f"{each.per_day:,.1f}", f"{len(each.properties):,}"
    first, last = ("-" if ms is None else format_instant(ms) for ms in (each.first_ms, each.last_ms))
    return each.event, f"{each.count:,}", per_day, number, ", ".join(each.sources), first, last


def _show_event(view: EventView, format_: str) -> None:
    if format_ != "table":
        _say_map(msgspec.to_builtins(view), format_)
        return
    say(f"{view.event}: {view.count:,} events of {', '.join(view.sources)}, {view.per_day:,.1f} per day")
    say_table(("property", "share", "types", "values"), map(_field_row, view.properties), figures=("share",))
    if view.others:
        say(f"and {view.others:,} values of further properties", err=True)


def _field_row(each: FieldView) -> tuple[str, ...]:
    types = ", ".join(f"{name} {number:,}" for name, number in each.types.items())
    values = ", ".join(f"{value} {number:,}" for value, number in (each.values or {}).items())
    if each.range is not None:
        values = f"{each.range[0]:g} to {each.range[1]:g}"
    return each.name, f"{each.share:.1%}", types, values


def _say_map(found: dict[str, Any], format_: str) -> None:
    if format_ == "json":
        say_text(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        say_text(yaml.safe_dump(found, sort_keys=False, allow_unicode=True).rstrip())
