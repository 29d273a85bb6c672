"""The command line: parse, call, print. One file per command, imported on demand."""

from __future__ import annotations

import sys
from importlib import import_module

import click

from segops import __version__
from segops.cli._ending import PIPE_CLOSED, status_of
from segops.cli._say import warn
from segops.config import unknown_variables
from segops.core.errors import UserError

#: Command -> the one-line help shown in the list. Its code is ``segops.cli.<command>:command``.
COMMANDS = {
    "activate": "Deliver audiences to their destinations.",
    "alerts": "Show which alerts of segments fire.",
    "apply": "Publish segment definitions to the compacted segments topic.",
    "archive": "Write profile events and membership changes to Parquet files.",
    "audiences": "Decide who is reached through a channel, and approve it.",
    "broker": "Start a local Kafka broker.",
    "catalogue": "Show which events, properties and traits occur.",
    "check": "Check segment files and report every error.",
    "collect": "Receive events over HTTP from Segment's and RudderStack's SDKs.",
    "dead-letters": "Show rejected input; send the events among it once more.",
    "deliveries": "Show what destinations were told; retry or drop what they refused.",
    "console": "Show segments, people and audiences in a browser.",
    "demo": "Run the whole system on real purchase history and verify it.",
    "destinations": "Describe and verify who receives audiences.",
    "erase": "Erase a person and wait for the receipts.",
    "estimate": "Show how many profiles a draft would hold.",
    "explain": "Explain why a profile is or is not in its segments.",
    "fit": "Fit a model of how customers buy, or of what they spend, to past orders.",
    "forecast": "Show how segments will change by time alone.",
    "group": "List the workers, or reassign a stopped worker's partitions.",
    "import": "Import the rows of a file as events of the past.",
    "lists": "Upload, show and remove static lists of customers.",
    "lookups": "List, show and replace the look-up tables of segments.",
    "mcp": "Let assistants read segments and check drafts, by the Model Context Protocol.",
    "members": "List who is, or was, in a segment.",
    "models": "Publish, show and bring back the scoring models that segments read.",
    "output": "Write memberships in the form that another system takes.",
    "plan": "Show exactly what publishing segments would change.",
    "pause": "Freeze the memberships of segments.",
    "overlap": "Show how many profiles segments have in common.",
    "profile": "Show one person's profile in a running system.",
    "population": "Show how many profiles are known, active, new and dormant.",
    "produce": "Send events from a file to the events topic.",
    "pull": "Pull profiles and events from another service.",
    "quarantine": "Inspect, restore or drop unreadable profiles.",
    "replay": "Compute membership changes from a file, without Kafka.",
    "resume": "End the pause of segments.",
    "retire": "End segments; their keys stay reserved.",
    "segments": "List the published segments.",
    "serve": "Answer over HTTP who is in which segments.",
    "sizes": "Show the sizes and trends of segments, live.",
    "sources": "Map topics that exist already to events.",
    "split": "Undo the merge of a profile.",
    "studio": "Turn a request in plain English into a rule.",
    "templates": "List ready-made segments, with the sizes they would have.",
    "test": "Run scenarios: tests for segments.",
    "sandbox": "Show what imaginary events and time would change for a person.",
    "schema": "Print the JSON Schema of segment files.",
    "timeline": "List a person's events and membership changes.",
    "topics": "Create, verify or describe the topics.",
    "train": "Learn from the stream how likely an event follows.",
    "tracking-plans": "Say what the events of a source may look like, and see what violates it.",
    "up": "Run the whole system on this machine.",
    "version": "Print the version, and whether the kernel runs.",
    "watch": "Follow membership changes and segment sizes.",
    "worker": "Run the engine.",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f"segops.cli.{name.replace('-', '_')}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # click would exit with 1
            sys.exit(PIPE_CLOSED)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version")
def cli() -> None:
    """Real-time customer segmentation on Kafka.

    Settings are environment variables named SEGOPS_*; a misspelt name is an error.

    Exit status: 0 success, 2 a user error (the message says where and why), 1 a failure.
    """
    if not {"-h", "--help"} & set(sys.argv):
        _check_variables()


def _check_variables() -> None:
    found = unknown_variables()
    misspelt = [str(variable) for variable in found if variable.misspelt]
    if misspelt:
        raise UserError("\n".join(misspelt))
    for variable in found:
        warn(str(variable))


def main() -> None:
    """Run the ``segops`` script and exit with its status, without a traceback."""
    sys.exit(status_of(lambda: cli.main(standalone_mode=False)))
