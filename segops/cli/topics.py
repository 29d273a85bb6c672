"""``segops topics``: create, verify or describe the topics."""

from __future__ import annotations

import click

from segops.cli._kafka import run
from segops.cli._say import say, say_table
from segops.core.values import format_duration
from segops.kafka import topics
from segops.kafka.topics import TopicState

_EPILOG = """
\b
Examples:
  segops topics create
  SEGOPS_PARTITIONS=32 SEGOPS_REPLICATION=3 segops topics create
"""
_FIGURES = ("partitions", "replicas", "cleanup", "offsets")


@click.group(epilog=_EPILOG)
def command() -> None:
    """Create, verify or describe the topics.

    SEGOPS_TOPIC_PREFIX, SEGOPS_PARTITIONS, SEGOPS_REPLICATION, SEGOPS_RETENTION and SEGOPS_APP_ID determine
    their names and settings.
    """


@command.command(epilog="Example: segops topics create")
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="Seconds to wait for a broker that is starting; 0: do not wait.",
)
def create(wait: float) -> None:
    """Create missing topics; fail if an existing topic has other settings."""
    created = run(topics.create, wait_s=wait)
    for name in created:
        say(f"created {name}")
    if not created:
        say("all topics exist with the expected settings")


@command.command(epilog="Example: segops topics verify && segops worker")
def verify() -> None:
    """Check that all topics exist with the expected partitions and cleanup policy."""
    run(topics.verify)
    say("all topics exist with the expected settings")


@command.command(epilog="Example: segops topics describe")
def describe() -> None:
    """Show every topic: partitions, replicas, cleanup policy, offsets in use."""
    states = run(topics.describe)
    rows = [(state.spec.name, *_figures(state), state.spec.holds) for state in states]
    say_table(("topic", *_FIGURES, "holds"), rows, figures=_FIGURES)
    for problem in (problem for state in states for problem in state.problems()):
        say(f"! {problem}", err=True)


def _figures(state: TopicState) -> tuple[str, str, str, str]:
    if not state.partitions:
        return "none", "-", "-", "-"
    policy = state.configs.get("cleanup.policy", "?")
    retention = state.configs.get("retention.ms", "")
    if policy == "delete" and retention.isdigit():
        policy = f"after {format_duration(int(retention))}"
    return str(state.partitions), str(state.replication), policy, f"{state.records or 0:,}"
