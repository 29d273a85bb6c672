"""The command line: parse, call, print. One file a command, loaded when it is called."""

from __future__ import annotations

import sys
from importlib import import_module

import click

from segops import __version__
from segops.cli._ending import PIPE_CLOSED, status_of
from segops.cli._say import warn
from segops.config import unknown_variables
from segops.core.errors import UserError

#: command -> the one-line help shown in the list; its code is ``segops.cli.<command>:command``.
COMMANDS = {
    "apply": "Publish segment definitions to the compacted segments topic.",
    "broker": "Start a local broker, or explain the choice of one.",
    "check": "Check segment files and report every mistake.",
    "demo": "Run the whole system on real purchase history, and verify it.",
    "erase": "Forget a person, and wait for the receipts.",
    "explain": "Say why a profile is in its segments or not.",
    "group": "Show the workers, or give a stopped one's partitions to the others.",
    "profile": "Print what a running system knows of one person.",
    "produce": "Send events from a file to the events topic.",
    "quarantine": "Look at profiles that cannot be read; restore or drop them.",
    "replay": "Compute membership changes from a file, without Kafka.",
    "split": "Undo the merge of a profile, as long as it is retained.",
    "test": "Run scenarios: what segments must do, step by step.",
    "schema": "Print the JSON Schema of segment files, for editors.",
    "topics": "Create, verify or describe the topics.",
    "version": "Print the version.",
    "watch": "Follow membership changes and segment sizes.",
    "worker": "Run the engine.",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f"segops.cli.{name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # click would make it a failure
            sys.exit(PIPE_CLOSED)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version")
def cli() -> None:
    """Real-time customer segmentation on Kafka.

    Settings are environment variables, SEGOPS_*; a misspelt one is refused.

    Exit status: 0 fine, 2 a mistake of the user's (the message names the place and the reason), 1 a failure.
    """
    if not {"-h", "--help"} & set(sys.argv):
        _look_at_variables()


def _look_at_variables() -> None:
    found = unknown_variables()
    misspelt = [str(variable) for variable in found if variable.misspelt]
    if misspelt:
        raise UserError("\n".join(misspelt))
    for variable in found:
        warn(str(variable))


def main() -> None:
    """The ``segops`` script: no traceback for a mistake of the user's."""
    sys.exit(status_of(lambda: cli.main(standalone_mode=False)))
