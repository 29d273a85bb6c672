"""``segops deliveries``: what destinations were told, and what they refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
import msgspec
from prometheus_client import CollectorRegistry

from segops.cli._kafka import run
from segops.cli._params import formats
from segops.cli._say import say, say_table
from segops.core.delivery.deciding import Ask
from segops.core.delivery.model import Delivery
from segops.core.values import format_instant
from segops.delivery.views import ACTIONS, Letter, Tally, answer_dead, letters, read_entries, tallies
from segops.delivery.views import reconcile as compared
from segops.metrics import Metrics

_EPILOG = """
\b
Examples:
  segops deliveries list
  segops deliveries list --dead
  segops deliveries retry winback-email --to klaviyo-main
"""
_Command = TypeVar("_Command", bound=Callable[..., Any])


@click.group(epilog=_EPILOG)
def command() -> None:
    """Show what destinations were told of audiences; retry or drop what they refused."""


@command.command("list", epilog="Example: segops deliveries list --dead --format jsonl")
@click.option("--dead", is_flag=True, help="List the messages that destinations refused.")
@formats(["table", "jsonl"])
def list_(*, dead: bool, form: str) -> None:
    """Show of each audience and destination how many addresses are members, were told, or were not and why.

    wanted: members who have an address there. told: whom the destination knows to be members. existing:
    members since before the activation. capped: told too often already. discarded: by a release. dead:
    refused by the destination.
    """
    entries = run(read_entries)
    if dead:
        _say_letters(letters(entries), form)
        return
    found = tallies(entries)
    if form == "jsonl":
        for each in found:
            say(_json(each))
        return
    columns = ("audience", "destination", "wanted", "told", *_SKIPPED)
    say_table(columns, [_row(each) for each in found], figures=columns[2:])


_SKIPPED = ("existing", "capped", "discarded", "dead")


def _row(tally: Tally) -> tuple[str, ...]:
    of, skipped = tally.delivery, [tally.skipped.get(name, 0) for name in _SKIPPED]
    return (of.audience, of.destination, *(f"{each:,}" for each in (tally.wanted, tally.told, *skipped)))


def _json(found: Tally | Letter) -> str:
    return msgspec.json.encode({**found._asdict(), "delivery": found.delivery._asdict()}).decode()


def _say_letters(found: list[Letter], form: str) -> None:
    if form == "jsonl":
        for each in found:
            say(_json(each))
        return
    columns = ("at", "audience", "destination", "address", "reason")
    rows = [
        (format_instant(at), of.audience, of.destination, address, reason)
        for of, address, _, at, reason in found
    ]
    say_table(columns, rows)


@command.command(epilog="Example: segops deliveries reconcile winback-email --to klaviyo-main --dry-run")
@click.argument("audience", metavar="AUDIENCE")
@click.option("--to", required=True, metavar="NAME", help="The destination.")
@click.option("--dry-run", is_flag=True, help="Compare only.")
def reconcile(audience: str, *, to: str, dry_run: bool) -> None:
    """Compare what a destination holds of AUDIENCE with what it was told, and tell it again what it has lost.

    A running `segops activate` tells it, with the former ids. What the destination holds besides is left
    alone: others may have added it.
    """
    metrics = Metrics(CollectorRegistry())
    found = run(lambda settings: compared(settings, metrics, Delivery(to, audience), dry_run=dry_run))
    note = " (dry run)" if dry_run or not found.missing else ", asked to tell them again"
    say(f"told {found.told:,}; missing there {len(found.missing):,}{note}; held besides {found.others:,}")


def _answering(action: Ask, text: str) -> None:
    @command.command(action, help=text, epilog=f"Example: segops deliveries {action} winback-email")
    @click.argument("audience", metavar="AUDIENCE")
    @click.option("--to", metavar="NAME", help="Of this destination only.")
    @click.option("--address", metavar="TEXT", help="Of this address only.")
    def answer(audience: str, *, to: str | None, address: str | None) -> None:
        def wanted(letter: Letter) -> bool:
            of, address_of = letter.delivery, letter.address
            return of.audience == audience and to in (None, of.destination) and address in (None, address_of)

        count = run(lambda settings: answer_dead(settings, action, wanted))
        say(f"asked to {action} {count:,} message(s)")


for _action, _text in zip(
    ACTIONS,
    (
        "Tell destinations again what they refused of AUDIENCE; a running `segops activate` does.",
        "Settle what destinations refused of AUDIENCE without telling them.",
    ),
    strict=True,
):
    _answering(_action, _text)
