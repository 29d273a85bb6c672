"""``segops topics``: create, verify, describe."""

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
_FIGURES = ("partitions", "replicas", "clean-up", "offsets")


@click.group(epilog=_EPILOG)
def command() -> None:
    """Create, verify or describe the topics.

    SEGOPS_TOPIC_PREFIX, SEGOPS_PARTITIONS, SEGOPS_REPLICATION, SEGOPS_RETENTION and SEGOPS_APP_ID say what
    they are to be.
    """


@command.command(epilog="Example: segops topics create")
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="Seconds to wait for a broker that starts; 0: not.",
)
def create(wait: float) -> None:
    """Create the topics that are missing; refuse those that differ."""
    created = run(topics.create, wait_s=wait)
    for name in created:
        say(f"created {name}")
    if not created:
        say("all topics exist and are as expected")


@command.command(epilog="Example: segops topics verify && segops worker")
def verify() -> None:
    """Check that all topics exist with the right partitions and clean-up."""
    run(topics.verify)
    say("all topics exist and are as expected")


@command.command(epilog="Example: segops topics describe")
def describe() -> None:
    """Show every topic: partitions, replicas, clean-up, offsets in use."""
    states = run(topics.describe)
    rows = [(state.spec.name, *_figures(state), state.spec.holds) for state in states]
    say_table(("topic", *_FIGURES, "holds"), rows, figures=_FIGURES)
    for problem in (problem for state in states for problem in state.problems()):
        say(f"! {problem}", err=True)


def _figures(state: TopicState) -> tuple[str, str, str, str]:
    if not state.partitions:
        return "none", "-", "-", "-"
    policy = state.configs.get("cleanup.policy", "?")
    kept = state.configs.get("retention.ms", "")
    if policy == "delete" and kept.isdigit():
        policy = f"after {format_duration(int(kept))}"
    return str(state.partitions), str(state.replication), policy, f"{state.records or 0:,}"
