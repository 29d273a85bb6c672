"""``segops topics``: create, verify, describe."""

from __future__ import annotations

import click
from rich.table import Table

from segops.cli._kafka import print_table, run
from segops.core.values import format_duration
from segops.streaming import topics
from segops.streaming.topics import TopicState

_EPILOG = """
\b
Examples:
  segops topics create
  SEGOPS_PARTITIONS=32 SEGOPS_REPLICATION=3 segops topics create
"""


@click.group(epilog=_EPILOG)
def command() -> None:
    """Create, verify or describe the topics.

    SEGOPS_TOPIC_PREFIX, SEGOPS_PARTITIONS, SEGOPS_REPLICATION, SEGOPS_RETENTION and SEGOPS_APP_ID say what
    they are to be.
    """


@command.command(epilog="Example: segops topics create")
def create() -> None:
    """Create the topics that are missing; refuse those that differ."""
    created = run(topics.create)
    for name in created:
        click.echo(f"created {name}")
    if not created:
        click.echo("all topics exist and are as expected")


@command.command(epilog="Example: segops topics verify && segops worker")
def verify() -> None:
    """Check that all topics exist with the right partitions and clean-up."""
    run(topics.verify)
    click.echo("all topics exist and are as expected")


@command.command(epilog="Example: segops topics describe")
def describe() -> None:
    """Show every topic: partitions, replicas, clean-up, offsets in use."""
    states = run(topics.describe)
    table = Table(box=None, pad_edge=False)
    table.add_column("topic", no_wrap=True)
    for column in ("partitions", "replicas", "clean-up", "offsets"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("holds", overflow="fold")
    for state in states:
        table.add_row(state.spec.name, *_figures(state), state.spec.holds)
    print_table(table)
    for problem in (problem for state in states for problem in state.problems()):
        click.echo(f"! {problem}", err=True)


def _figures(state: TopicState) -> tuple[str, str, str, str]:
    if not state.partitions:
        return "none", "-", "-", "-"
    policy = state.configs.get("cleanup.policy", "?")
    kept = state.configs.get("retention.ms", "")
    if policy == "delete" and kept.isdigit():
        policy = f"after {format_duration(int(kept))}"
    return str(state.partitions), str(state.replication), policy, f"{state.records or 0:,}"
