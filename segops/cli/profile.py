"""``segops profile``: one profile of a running system."""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import urlopen

import click
import msgspec

from segops.api.profiles import View, decode_view
from segops.cli.explain import tree
from segops.config import load
from segops.core.errors import SegopsError, UserError
from segops.core.values import format_instant

_EPILOG = """
\b
Examples:
  segops profile user_id:u1
  segops profile email:ada@example.com --worker http://10.0.0.7:6066 --format json
"""
_TIMEOUT_S = 10.0


@click.command(epilog=_EPILOG)
@click.argument("identifier")
@click.option(
    "--worker", help="Address of any worker; without it the one of SEGOPS_WEB_HOST and SEGOPS_WEB_PORT."
)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(identifier: str, worker: str | None, form: str) -> None:
    """Show a profile: its identifiers, traits, and memberships, since when, why, and until when.

    IDENTIFIER is any of the person's, with its type: user_id:u1. Any worker can be asked: it points to the
    one that has the profile, and that one answers by what it knows now.
    """
    settings = load().worker
    address = (worker or f"http://{settings.web_host}:{settings.web_port}").rstrip("/")
    if not address.startswith(("http://", "https://")):
        raise UserError(f"--worker is an address such as http://127.0.0.1:6066, not {address}")
    body = _get(f"{address}/profiles/{quote(identifier, safe='')}")
    if form == "json":
        click.echo(msgspec.json.format(body, indent=2))
    else:
        click.echo("\n".join(_text(decode_view(body))))


def _get(url: str) -> bytes:
    try:
        with urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - http only, see above
            body: bytes = answer.read()
            return body
    except HTTPError as error:
        said = error.read().decode(errors="replace").strip()
        raise (UserError if error.code in (403, 404) else SegopsError)(said or str(error)) from None
    except (URLError, OSError, HTTPException) as error:
        raise SegopsError(f"no worker answers at {url}: {getattr(error, 'reason', error)}") from None


def _text(view: View) -> Iterator[str]:
    if view.first_ms is not None and view.latest_ms is not None:
        yield f"seen from {format_instant(view.first_ms)} to {format_instant(view.latest_ms)}"
    yield "identifiers"
    width = max(len(each.identifier) for each in view.identifiers)
    for each in view.identifiers:
        yield f"  {each.identifier:<{width}}  {each.origin}"
    if view.refused:
        yield "not joined with"
        yield from (f"  {each}" for each in view.refused)
    yield "traits"
    for name, value in sorted(view.traits.items()):
        yield f"  {name}: {msgspec.json.encode(value).decode()}"
    yield ""
    yield tree(view.explanation)
