"""``segops erase``: erase a person."""

from __future__ import annotations

from uuid import uuid4

import click

from segops.cli._kafka import run
from segops.cli._say import say
from segops.operations import erase as erasing
from segops.schemas.erasures import ErasureRequest, decode_request, encode_request

_EPILOG = """
\b
Examples:
  segops erase --profile user_id:u1
  segops erase --profile email:ada@example.com --request ticket-4711 --wait 0
"""


@click.command(epilog=_EPILOG)
@click.option("--profile", required=True, help="Any identifier of the person, such as user_id:u1.")
@click.option("--request", help="Name of the request, by which its receipts are found. Default: random.")
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="Seconds to wait for the receipts; 0: do not wait.",
)
def command(profile: str, request: str | None, wait: float) -> None:
    """Erase a person: the profile, its timers and memberships, and all identifiers that lead to it.

    The memberships end with the reason erasure. Records that topics keep until their retention ends, such as
    raw events, remain. Exit status 1 if the receipts do not arrive in time.
    """
    erasure = ErasureRequest(profile, request or uuid4().hex)
    try:
        decode_request(encode_request(erasure))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    receipts = run(lambda settings: erasing.erase(settings, erasure, wait_s=wait))
    if not wait:
        say(f"request {erasure.request} sent")
        return
    for receipt in receipts:
        say(f"{receipt.found:8}  sha256 {receipt.identifier_sha256}")
    erased = sum(receipt.found in ("profile", "redirect") for receipt in receipts)
    say(f"request {erasure.request}: {erased} of {len(receipts)} identifiers were stored and are now erased")
