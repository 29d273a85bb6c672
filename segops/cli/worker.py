"""``segops worker``: run the engine."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import click

from segops.config import Settings, load

_EPILOG = """
\b
Examples:
  segops worker
  segops worker --processes 4 --data-dir /var/lib/segops
  segops worker --clock event --web-port 7000
  segops worker --start-fresh
"""


@click.command(epilog=_EPILOG)
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Worker processes; use one per core.",
)
@click.option("--clock", type=click.Choice(["wall", "event"]), help="What advances time. [SEGOPS_CLOCK]")
@click.option(
    "--web-port",
    type=click.IntRange(0, 65_535),
    help="HTTP port of the first process; the second uses the next port, and so on. [SEGOPS_WEB_PORT]",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="Minimum log level. [SEGOPS_LOG_LEVEL]",
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the profile stores, with a subfolder per process. [SEGOPS_DATA_DIR]",
)
@click.option(
    "--leave-on-stop",
    is_flag=True,
    help="Leave the group on shutdown, so that others take the partitions at once. [SEGOPS_LEAVE_ON_STOP]",
)
@click.option(
    "--start-fresh",
    "fresh",
    is_flag=True,
    help="Discard the stored profiles and rebuild them from the topics.",
)
@click.option("--take-over", is_flag=True, help="Become the application that publishes to these topics.")
@click.option(
    "--accept-topics", is_flag=True, help="Confirm that the stored profiles belong to these topics."
)
def command(
    *,
    processes: int,
    clock: str | None,
    web_port: int | None,
    log_level: str | None,
    data_dir: Path | None,
    leave_on_stop: bool,
    fresh: bool,
    take_over: bool,
    accept_topics: bool,
) -> None:
    """Turn events into membership changes until Ctrl-C.

    Waits while Kafka is unreachable. With --processes, a process that fails is restarted up to five times in
    a row; then all stop with status 1. State is in the data folder and on Kafka: losing the folder costs only
    the time to restore it.

    The last three options apply to all workers of the application: pass them to one start of one worker,
    after all others have stopped. Later starts do not need them.
    """
    from segops import worker

    settings = _settings(clock, web_port, log_level, data_dir, leave_on_stop)
    settings = settings.model_copy(update={"accept_topics": accept_topics})
    if fresh or take_over:
        worker.decide(settings, fresh=fresh, take_over=take_over)
    if processes == 1:
        sys.exit(worker.run(worker.process_settings(settings, 0)))
    sys.exit(worker.supervise(settings, processes))


def _settings(
    clock: str | None, web_port: int | None, log_level: str | None, data_dir: Path | None, leave: bool
) -> Settings:
    given: dict[str, dict[str, object]] = {
        "engine": {"clock": clock},
        "worker": {"web_port": web_port, "log_level": log_level, "leave_on_stop": leave or None},
        "state": {"data_dir": data_dir},
    }
    return load(**{part: _present(fields) for part, fields in given.items()})


def _present(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}
