"""``segops pull``: what another service knows of customers, as events."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from time import monotonic

import click
from prometheus_client import CollectorRegistry

from segops.cli._say import say
from segops.cli._service import serve
from segops.config import Settings, load
from segops.core.values import format_duration
from segops.klaviyo.pull import Pull
from segops.klaviyo.service import PullService
from segops.logs import start_logging
from segops.metrics import Metrics
from segops.streaming.failpoints import Failpoints

_EPILOG = """
\b
Examples:
  SEGOPS_KLAVIYO_API_KEY_FILE=/run/secrets/klaviyo segops pull klaviyo
  segops pull klaviyo --follow
"""
_REPORT_EVERY_S = 5.0


@click.group(epilog=_EPILOG)
def command() -> None:
    """Pull profiles and events from another service into the events topic."""


@command.command(epilog=_EPILOG)
@click.option("--follow", is_flag=True, help="Go on: poll for what is new until Ctrl-C.")
def klaviyo(*, follow: bool) -> None:
    """Pull profiles with consent, and the events of SEGOPS_KLAVIYO_HISTORY, from a Klaviyo account.

    The private API key in SEGOPS_KLAVIYO_API_KEY or SEGOPS_KLAVIYO_API_KEY_FILE needs the scopes
    accounts:read, events:read and profiles:read. Requests keep to Klaviyo's documented limits. How far the
    pull has come is kept in Kafka: the next run goes on there, also after a crash, and each event counts
    once. Objects that cannot be read go to the dead-letter topic. Waits while Kafka or Klaviyo is out of
    reach.
    """
    settings = load()
    start_logging(settings.worker.log_level)
    asyncio.run(_follow(settings) if follow else _once(settings))


async def _follow(settings: Settings) -> None:
    await serve(
        settings,
        lambda metrics, passed: PullService(settings, metrics, follow=True, passed=passed),
        port=settings.klaviyo.web_port,
        variable="SEGOPS_KLAVIYO_WEB_PORT",
        what=f"pull from {settings.klaviyo.url} to {settings.topics.events}",
    )


async def _once(settings: Settings) -> None:
    stop, started = asyncio.Event(), monotonic()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    passed = Failpoints(settings.worker.crash_at).passed
    service = PullService(settings, Metrics(CollectorRegistry()), follow=False, passed=passed)
    reporting = asyncio.create_task(_report(service, started))
    try:
        await service.run(stop)
    finally:
        reporting.cancel()
        with suppress(asyncio.CancelledError):
            await reporting
    if service.pull is not None:
        say(f"{'stopped' if stop.is_set() else 'done'}: {_counts(service.pull)}")


async def _report(service: PullService, started: float) -> None:
    """Say every few seconds how far the pull has come, and what it waits for."""
    while True:
        await asyncio.sleep(_REPORT_EVERY_S)
        if service.waits_for is not None:
            say(service.waits_for, err=True)
        elif service.pull is not None:
            say(_progress(service.pull, monotonic() - started), err=True)


def _counts(pull: Pull) -> str:
    return f"{pull.counts['profiles']:,} profiles, {pull.counts['events']:,} events in {pull.pages:,} pages"


def _progress(pull: Pull, seconds: float) -> str:
    """Return counts, share and remaining time; the time assumes that the history is spread evenly."""
    share = pull.state.progress - pull.began_at
    left = 1.0 - pull.state.progress
    if share <= 0 or left <= 0:
        return _counts(pull)
    left_ms = max(int(seconds * left / share), 1) * 1_000
    return f"{_counts(pull)}, {pull.state.progress:.0%} of the history, about {format_duration(left_ms)} left"
