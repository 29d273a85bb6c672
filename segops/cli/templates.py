"""``segops templates``: ready-made segments, with the sizes that they would have."""

from __future__ import annotations

from collections.abc import Sequence

import click

from segops.cli._kafka import run
from segops.cli._say import say, say_table, say_text
from segops.cli._scans import WAIT, reporting
from segops.config import Settings
from segops.core.values import format_instant
from segops.operations.measuring import PREFIX, Measured, measure
from segops.operations.plans import Wait
from segops.templates import Template, definition_of, load_template, load_templates, segment_file

_EPILOG = """
\b
Examples:
  segops templates
  segops templates --measure
  segops templates win-back --set silent=90d > segments.yaml
  segops templates vip --set amount=750 --set currency=EUR --measure
"""


@click.command(epilog=_EPILOG)
@click.argument("key", required=False)
@click.option(
    "--set", "given", multiple=True, metavar="NAME=VALUE", help="The value of a parameter of the template."
)
@click.option("--measure", "measured", is_flag=True, help="Count the members in the running system.")
@WAIT
def command(key: str | None, given: Sequence[str], measured: bool, wait: float) -> None:
    """List templates of segments, or print the segment file of the template KEY.

    The file is a start for your own: read it, change it, and publish it with `segops plan` and `segops
    apply`. Nothing is published here. With --measure, the workers count how many profiles each template
    would hold, past events included, and templates that read events or traits which do not occur are named.
    """
    if key is None and given:
        raise click.UsageError("--set requires KEY")
    chosen = list(load_templates().values()) if key is None else [load_template(key)]
    if measured:
        _measure(chosen, given, wait)
    elif key is None:
        _list(chosen)
    else:
        say_text(segment_file(chosen[0], given).rstrip("\n"))


def _list(templates: Sequence[Template]) -> None:
    rows = [(each.key, each.purpose, _parameters(each)) for each in templates]
    say_table(("template", "purpose", "parameters"), rows)
    say("segops templates KEY prints a segment file; --measure counts the members of each")


def _parameters(template: Template) -> str:
    return " ".join(
        f"{name}={'' if each.default is None else each.default}" for name, each in template.parameters.items()
    )


def _measure(templates: Sequence[Template], given: Sequence[str], wait_s: float) -> None:
    definitions = [definition_of(each, given, key=PREFIX + each.key) for each in templates]

    async def work(settings: Settings) -> Measured:
        with reporting() as report:
            return await measure(settings, definitions, Wait(wait_s, report))

    found = run(work)
    rows = [_row(each.key, found) for each in templates]
    say_table(("template", "members", "share", "notes"), rows, figures=("members", "share"))
    say(f"of {found.profiles:,} profiles; names and traits are those of the newest {found.events:,} events")


def _row(key: str, found: Measured) -> tuple[str, str, str, str]:
    members = found.members[PREFIX + key]
    share = f"{members / found.profiles:.1%}" if found.profiles else ""
    notes = list(found.unseen[PREFIX + key])
    since_ms = found.since_ms.get(PREFIX + key)
    if since_ms is not None:
        notes.append(f"counts events since {format_instant(since_ms)}")
    return key, f"{members:,}", share, "; ".join(notes)
