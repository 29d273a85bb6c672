"""``segops console``: what people see of segops, in a browser."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

import click
import msgspec
import uvloop

from segops.cli._kafka import run
from segops.cli._params import INSTANT, formats
from segops.cli._say import say, say_all, say_table, warn
from segops.cli._service import raise_descriptor_limit, serve
from segops.config import Settings, load
from segops.console.access.passwords import MAX_PASSWORD, hash_password
from segops.console.service import ConsoleService
from segops.core.errors import UserError
from segops.core.values import MAX_MS, format_instant
from segops.logs import start_logging
from segops.metrics import Metrics
from segops.operations.access_audit import MOST, AccessQuery, read_entries
from segops.schemas.access_audit import AccessEntry

_EPILOG = """
\b
Examples:
  segops console
  SEGOPS_CONSOLE_TOKEN=kept-in-a-vault segops console
  SEGOPS_CONSOLE_USERS_FILE=users SEGOPS_CONSOLE_SECRET=... SEGOPS_CONSOLE_HOST=0.0.0.0 segops console
  segops console hash
  segops console audit
"""
_LEAST_CHARACTERS = 8


@click.group(epilog=_EPILOG, invoke_without_command=True)
@click.option("--port", type=click.IntRange(0, 65_535), help="Port of the console. [SEGOPS_CONSOLE_PORT]")
@click.option(
    "--web-port",
    type=click.IntRange(0, 65_535),
    help="Port of the health and metrics pages. [SEGOPS_CONSOLE_WEB_PORT]",
)
@click.pass_context
def command(ctx: click.Context, *, port: int | None, web_port: int | None) -> None:
    """Serve the console until Ctrl-C: segments, people, audiences and their delivery, in a browser.

    Listens on loopback by default, where it is open to everyone on this machine unless a login is configured;
    on any other address a login is required. Put a proxy with TLS in front of it.
    """
    if ctx.invoked_subcommand is not None:
        return
    given = {"port": port, "web_port": web_port}
    settings = load(console={name: value for name, value in given.items() if value is not None})
    start_logging(settings.worker.log_level)
    raise_descriptor_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    def start(metrics: Metrics, _passed: Callable[[str], None]) -> ConsoleService:
        return ConsoleService(settings, metrics)

    await serve(
        settings,
        start,
        port=settings.console.web_port,
        variable="SEGOPS_CONSOLE_WEB_PORT",
        what=f"console on {settings.console.address}",
    )


@command.command("hash", epilog="Example: segops console hash")
def hash_command() -> None:
    """Print the hash of a password, asked for or piped in as a line, for SEGOPS_CONSOLE_USERS."""
    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if not _LEAST_CHARACTERS <= len(password) <= MAX_PASSWORD:
        raise UserError(f"expected a password of {_LEAST_CHARACTERS} to {MAX_PASSWORD:,} characters")
    say(hash_password(password))


@command.command(epilog="Example: segops console audit --user ann --since 2026-01-31T00:00:00Z")
@click.option("--user", default="", metavar="NAME", help="Only what this user did.")
@click.option(
    "--action",
    default="",
    metavar="NAME",
    help="Only this action, or with a dot at its end all of that kind.",
)
@click.option(
    "--object", "text", default="", metavar="TEXT", help="Only entries with this text in the object or data."
)
@click.option("--since", type=INSTANT, help="Only from this instant on.")
@click.option("--until", type=INSTANT, help="Only before this instant.")
@click.option(
    "--limit", type=click.IntRange(1, MOST), default=100, show_default=True, metavar="N", help="At most N."
)
@formats(["table", "json"], note="json prints an object per line")
def audit(
    *, user: str, action: str, text: str, since: int | None, until: int | None, limit: int, form: str
) -> None:
    """List what people did in the console, and what they read of a person; the newest first."""
    query = AccessQuery(user, action, text, since or 0, MAX_MS if until is None else until, None, limit)
    found = run(lambda settings: read_entries(settings, query))
    entries = [entry for _, entry in found.entries]
    if form == "json":
        say_all(msgspec.json.encode(entry).decode() for entry in entries)
    else:
        say_table(_COLUMNS, (_row(entry) for entry in entries))
    if not found.complete:
        warn(f"only the newest {MOST:,} records of this period were looked at")
    if found.unreadable:
        warn(f"{found.unreadable:,} records are no entries")


_COLUMNS = ("at", "user", "role", "address", "action", "object", "result")


def _row(entry: AccessEntry) -> list[str]:
    at = format_instant(entry.at_ms)
    return [at, entry.user, entry.role, entry.address, entry.action, entry.object, entry.result]
