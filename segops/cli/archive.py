"""``segops archive``: profile events and membership changes as Parquet files."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

import click
from prometheus_client import CollectorRegistry

from segops.archive.storage import Storage, open_storage
from segops.cli._kafka import run
from segops.cli._say import say, say_table
from segops.cli._service import serve
from segops.config import Settings, load
from segops.core.values import format_instant
from segops.logs import start_logging
from segops.metrics import Metrics
from segops.streaming.failpoints import Failpoints

_EPILOG = """
\b
Examples:
  SEGOPS_ARCHIVE_URL=file:///var/lib/segops/archive segops archive
  SEGOPS_ARCHIVE_URL=s3://my-bucket/segops segops archive --once
  segops archive --verify
"""


@click.command(epilog=_EPILOG)
@click.option("--once", is_flag=True, help="Archive what the topics hold now, and exit.")
@click.option("--compact", is_flag=True, help="Merge all small files and carry out erasures, and exit.")
@click.option("--verify", is_flag=True, help="Check that every file holds its records once, and exit.")
@click.option(
    "--web-port", type=click.IntRange(0, 65_535), help="Port of the HTTP server. [SEGOPS_ARCHIVE_WEB_PORT]"
)
def command(*, once: bool, compact: bool, verify: bool, web_port: int | None) -> None:
    """Write profile events and membership changes to Parquet files in SEGOPS_ARCHIVE_URL until Ctrl-C.

    Each record is in the archive exactly once. Several processes share the partitions. Erased persons are
    deleted from the files. Running processes merge small files by themselves; use --once and --compact when
    none runs, for example in a nightly job. Exit status of --verify: 1 if there is a problem.
    """
    if verify and (once or compact):
        raise click.UsageError("--verify cannot be combined with --once or --compact")
    archive = {} if web_port is None else {"archive": {"web_port": web_port}}
    settings = load(**archive)
    storage = open_storage(settings.archive)
    if verify:
        sys.exit(_verify(storage))
    if once or compact:
        run(lambda settings: _once(settings, storage, read=once, compact=compact))
        return
    start_logging(settings.worker.log_level)
    asyncio.run(_serve(settings, storage))


def _verify(storage: Storage) -> int:
    from segops.archive.verify import verify

    found = list(verify(storage))
    rows = [
        (
            f"{each.manifest.topic} {each.manifest.partition}",
            f"{each.records:,}",
            f"{len(each.manifest.files):,}",
            f"{each.bytes:,}",
            f"{each.manifest.next_offset or 0:,}",
            format_instant(each.manifest.complete_since_ms)
            if each.manifest.complete_since_ms
            else "the beginning",
            f"{each.leftovers:,}",
        )
        for each in found
    ]
    columns = ("partition", "records", "files", "bytes", "next offset", "complete since", "leftovers")
    say_table(columns, rows, figures=("records", "files", "bytes", "next offset", "leftovers"))
    problems = [problem for each in found for problem in each.problems]
    for problem in problems:
        say(problem, err=True)
    say(f"{len(found)} partition(s): {f'{len(problems)} problem(s)' if problems else 'OK'}")
    return 1 if problems else 0


async def _once(settings: Settings, storage: Storage, *, read: bool, compact: bool) -> None:
    from segops.archive.service import ArchiveService

    passed = Failpoints(settings.worker.crash_at).passed
    service = ArchiveService(settings, storage, Metrics(CollectorRegistry()), passed=passed)
    await service.once(read=read, compact=compact)


async def _serve(settings: Settings, storage: Storage) -> None:
    from segops.archive.service import ArchiveService

    def start(metrics: Metrics, passed: Callable[[str], None]) -> ArchiveService:
        return ArchiveService(settings, storage, metrics, passed=passed)

    await serve(
        settings,
        start,
        port=settings.archive.web_port,
        variable="SEGOPS_ARCHIVE_WEB_PORT",
        what=f"archive of {settings.topics.prefix}* in {storage}",
    )
