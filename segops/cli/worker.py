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
    "--processes", type=click.IntRange(1, 256), default=1, show_default=True, help="One per core is best."
)
@click.option("--clock", type=click.Choice(["wall", "event"]), help="What moves time. [SEGOPS_CLOCK]")
@click.option(
    "--web-port",
    type=click.IntRange(0, 65_535),
    help="Of the first process; the next takes the next. [SEGOPS_WEB_PORT]",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="The least that is logged. [SEGOPS_LOG_LEVEL]",
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keeps the profiles; a folder below it per process. [SEGOPS_DATA_DIR]",
)
@click.option(
    "--leave-on-stop",
    is_flag=True,
    help="When told to stop, give the partitions to others at once. [SEGOPS_LEAVE_ON_STOP]",
)
@click.option("--start-fresh", "fresh", is_flag=True, help="Give up the stored profiles and read again.")
@click.option("--take-over", is_flag=True, help="Become the application that publishes to these topics.")
@click.option("--accept-topics", is_flag=True, help="Say that the stored profiles are from these topics.")
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

    It waits while Kafka is away. A process that fails says why. One of several is started again, up to five
    times in a row; then all stop with status 1. State is in the data folder and on Kafka: losing the folder
    costs time, nothing else.

    The last three options decide something for all workers of the application: give them to one start of one
    worker, after all others have stopped. A start without them goes on with what was decided.
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
