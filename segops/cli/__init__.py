"""The command line: parse, call, print. One file a command, loaded when it is called."""

from __future__ import annotations

import sys
from importlib import import_module

import click

from segops import __version__
from segops.core.errors import SegopsError, UserError

#: command -> the one-line help shown in the list; its code is ``segops.cli.<command>:command``.
COMMANDS = {
    "apply": "Publish segment definitions to the compacted segments topic.",
    "broker": "Start a local broker, or explain the choice of one.",
    "check": "Check segment files and report every mistake.",
    "demo": "Run the whole system on real purchase history, and verify it.",
    "erase": "Forget a person, and wait for the receipts.",
    "explain": "Say why a profile is in its segments or not.",
    "profile": "Print what a running system knows of one person.",
    "produce": "Send events from a file to the events topic.",
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


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version")
def cli() -> None:
    """Real-time customer segmentation on Kafka.

    Exit status: 0 fine, 2 a mistake of the user's (the message names the place and the reason), 1 a failure.
    """


def main() -> None:
    """The ``segops`` script: no traceback for a mistake of the user's."""
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except UserError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    except SegopsError as error:
        click.echo(f"segops failed: {error}", err=True)
        sys.exit(1)
