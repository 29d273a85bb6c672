"""``segops sources``: topics that exist already, mapped to events."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import msgspec
import yaml

from segops.cli._changes import print_resource_changes
from segops.cli._kafka import run
from segops.cli._params import formats
from segops.cli._say import say, say_all, say_table, say_text
from segops.cli._service import serve
from segops.config import Settings, load
from segops.core.errors import UserError
from segops.core.values import format_instant
from segops.kafka.topics import topic_specs
from segops.logs import start_logging
from segops.metrics import Metrics
from segops.sources import published
from segops.sources.inference import Draft
from segops.sources.model import Source
from segops.sources.parsing import load as load_sources
from segops.sources.progress import SourceProgress, progress
from segops.sources.service import SourceService
from segops.sources.trying import Tried, try_source
from segops.sources.trying import infer as drafted

_EPILOG = """
\b
Examples:
  segops sources infer orders.v1 > sources.yaml
  segops sources test sources.yaml
  segops sources apply sources.yaml
  segops sources run
"""
_RECORDS = click.option(
    "--records",
    type=click.IntRange(1, 100_000),
    default=200,
    show_default=True,
    metavar="N",
    help="Sample about N of the latest records.",
)


@click.group(epilog=_EPILOG)
def command() -> None:
    """Map topics that exist already to events: JSON, Avro, Protobuf, and Debezium's change topics.

    `infer` drafts a file, `test` shows what it does with a sample, `apply` publishes it, and `run` copies the
    records, mapped, to the events topic, exactly once.
    """


@command.command(epilog="Example: segops sources apply sources.yaml --dry-run")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--prune", is_flag=True, help="Remove published sources that are not in FILE.")
@click.option("--dry-run", is_flag=True, help="Show what would change without publishing.")
def apply(file: Path, prune: bool, dry_run: bool) -> None:
    """Publish the sources in FILE, all or none. Running processes take them over within seconds.

    A new source begins with the first record that its topic retains, or with `from: latest` with those that
    follow this command. A changed one goes on where it is: its new mapping concerns records not read yet.
    """
    sources = _loaded(load(), file)
    changes = run(lambda settings: published.publish(settings, sources, prune=prune, dry_run=dry_run))
    print_resource_changes(changes, "sources", dry_run=dry_run)


@command.command(epilog="Example: segops sources remove orders.v1")
@click.argument("topics", nargs=-1, required=True, metavar="TOPIC...")
def remove(topics: Sequence[str]) -> None:
    """Remove the sources of these topics: they are read no further, and nothing of them is deleted.

    A source that is applied again afterwards begins like a new one.
    """
    changes = run(lambda settings: published.topic_of(settings).remove(topics))
    print_resource_changes(changes, "sources")


@command.command("list", epilog="Example: segops sources list --format jsonl")
@formats(["table", "jsonl"])
def list_(form: str) -> None:
    """List the published sources: their events, and how many records are not read yet."""
    found = run(progress)
    if form == "jsonl":
        say_all(msgspec.json.encode(each).decode() for each in found)
    elif found:
        columns = ("topic", "format", "from", "partitions", "lag", "since", "events")
        say_table(columns, map(_row, found), figures=("partitions", "lag"))
    else:
        say("no source is published")


@command.command(epilog="Example: segops sources infer orders.v1 --records 1000 > sources.yaml")
@click.argument("topic")
@_RECORDS
def infer(topic: str, records: int) -> None:
    """Draft a source file for TOPIC from a sample of its records.

    The draft names the format, likely identifiers, a name and a time, and takes all other fields as
    properties, or as traits if the topic is one of customers. What the sample shows of each field follows as
    comments, without values. Read it before you apply it.
    """
    found = run(lambda settings: drafted(settings, topic, records))
    say_text(_draft(found))


@command.command(epilog="Example: segops sources test sources.yaml --format jsonl")
@click.argument("source", metavar="FILE|TOPIC")
@_RECORDS
@formats(["table", "jsonl"], note="jsonl are the events as they would be written")
def test(source: str, records: int, form: str) -> None:
    """Show what becomes of a sample of records: by the sources in FILE, or the published one of TOPIC.

    Rejected records are listed with the reason on standard error; nothing is written. Exit status: 1 if a
    record is rejected.
    """
    sys.exit(_test(source, records, form))


@command.command("run", epilog="Example: SEGOPS_SCHEMA_REGISTRY_URL=https://registry:8081 segops sources run")
@click.option(
    "--web-port", type=click.IntRange(0, 65_535), help="Port of the HTTP server. [SEGOPS_SOURCES_WEB_PORT]"
)
def run_(web_port: int | None) -> None:
    """Copy the records of all published sources, mapped, to the events topic until Ctrl-C.

    Each record is copied exactly once, in order. One that cannot be decoded or mapped goes to the dead-letter
    topic with its bytes and the reason. Several processes share the partitions.
    """
    settings = load(**({} if web_port is None else {"sources": {"web_port": web_port}}))
    start_logging(settings.worker.log_level)
    asyncio.run(_serve(settings))


def _loaded(settings: Settings, file: Path) -> list[Source]:
    return load_sources(file, own={spec.name for spec in topic_specs(settings)})


def _row(each: SourceProgress) -> tuple[str, ...]:
    lag = "topic missing" if each.lag is None else f"{each.lag:,}"
    since = format_instant(each.since_ms)
    return each.topic, each.format, each.begin, str(each.partitions), lag, since, ", ".join(each.events)


def _draft(found: Draft) -> str:
    text = yaml.safe_dump({"version": 1, "sources": [found.source]}, sort_keys=False, allow_unicode=True)
    lines = [f"#   {each.name}: {each.type()}, in {each.present:,}" for each in found.fields]
    todo = (
        []
        if "identifiers" in found.source
        else ["# No identifier was recognised: name the path of one as userId."]
    )
    return "\n".join([*todo, text.rstrip(), f"# fields, in a sample of {found.records:,}:", *lines])


def _test(source: str, records: int, form: str) -> int:
    async def work(settings: Settings) -> list[Tried]:
        chosen = await _chosen(settings, source)
        return [each for one in chosen for each in await try_source(settings, one, records)]

    tried = run(work)
    if form == "jsonl":
        say_all((event.value or b"").decode() for each in tried for event in each.events)
    else:
        say_table(("record", "event", "profile", "time"), _events(tried))
    rejected = [each for each in tried if each.reason is not None]
    for each in rejected:
        say(f"{each.origin}: {each.reason}: {each.detail}", err=True)
    events = sum(len(each.events) for each in tried)
    left_out = sum(not each.events for each in tried) - len(rejected)
    say(
        f"{len(tried)} records: {events} events, {len(rejected)} rejected, {left_out} without an event",
        err=True,
    )
    return 1 if rejected else 0


def _events(tried: Sequence[Tried]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for each in tried:
        for event in each.events:
            written = msgspec.json.decode(event.value or b"")
            name = written.get("event") or written["type"]
            rows.append((each.origin, name, (event.key or b"").decode(), written["timestamp"]))
    return rows


async def _chosen(settings: Settings, source: str) -> list[Source]:
    if Path(source).is_file():
        return _loaded(settings, Path(source))
    sources = await published.topic_of(settings).read()
    if source not in sources:
        known = ", ".join(sorted(sources)) or "none"
        raise UserError(f"{source!r} is neither a file nor a published source; published: {known}")
    return [sources[source]]


async def _serve(settings: Settings) -> None:
    def start(metrics: Metrics, passed: Callable[[str], None]) -> SourceService:
        return SourceService(settings, metrics, passed=passed)

    await serve(
        settings,
        start,
        port=settings.sources.web_port,
        variable="SEGOPS_SOURCES_WEB_PORT",
        what=f"sources of {settings.topics.prefix}*",
    )
