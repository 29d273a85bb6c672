"""``segops console``: what people see of segops, in a browser."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import click
import uvloop

from segops.cli._say import say
from segops.cli._service import raise_descriptor_limit, serve
from segops.config import Settings, load
from segops.console.service import ConsoleService
from segops.logs import start_logging
from segops.metrics import Metrics

_EPILOG = """
\b
Examples:
  segops console
  SEGOPS_CONSOLE_TOKEN=kept-in-a-vault segops console
  SEGOPS_CONSOLE_USERS_FILE=users SEGOPS_CONSOLE_SECRET=... SEGOPS_CONSOLE_HOST=0.0.0.0 segops console
  segops console hash
"""


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
    """Ask for a password and print its hash, for SEGOPS_CONSOLE_USERS."""
    from segops.console.access.passwords import hash_password

    password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    say(hash_password(password))
