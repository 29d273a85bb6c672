"""``segops erase``: forget a person."""

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
@click.option("--profile", required=True, help="Any identifier of the person, with its type: user_id:u1.")
@click.option("--request", help="A name for the request, to find its receipts by; a random one otherwise.")
@click.option(
    "--wait", type=click.FloatRange(min=0), default=60.0, show_default=True, help="Seconds to wait; 0: not."
)
def command(profile: str, request: str | None, wait: float) -> None:
    """Forget a person: the profile, its timers, its memberships, and all identifiers that lead to it.

    Its memberships end with the reason erasure. What topics keep until their retention ends, such as raw
    events, is not touched. Exit status 1 when the receipts do not come in time.
    """
    wanted = ErasureRequest(profile, request or uuid4().hex)
    try:
        decode_request(encode_request(wanted))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    receipts = run(lambda settings: erasing.erase(settings, wanted, wait_s=wait))
    if not wait:
        say(f"request {wanted.request} is sent")
        return
    for receipt in receipts:
        say(f"{receipt.found:8}  sha256 {receipt.identifier_sha256}")
    gone = sum(receipt.found in ("profile", "redirect") for receipt in receipts)
    say(f"request {wanted.request}: {gone} of {len(receipts)} identifiers were stored, and are erased")
