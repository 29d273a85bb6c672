"""``segops profile``: what is known of one person in a running system."""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import click
import msgspec

from segops.api.profiles import path_of
from segops.cli._say import say_all, say_text
from segops.config import load
from segops.core.errors import SegopsError, UserError
from segops.core.values import format_instant
from segops.core.views.profile import (
    EVENT,
    ITSELF,
    TAKEN_OVER,
    FeatureView,
    Identifier,
    MembershipView,
    ProfileView,
)

_EPILOG = """
\b
Examples:
  segops profile user_id:ann
  segops profile email:ann@example.com --url http://127.0.0.1:6067 --format json
"""
_TIMEOUT_S: Final = 10
_MAX_REDIRECTS: Final = 100


def _json(portrait: ProfileView) -> None:
    say_text(msgspec.json.format(msgspec.json.encode(portrait), indent=2).decode())


def _tree(portrait: ProfileView) -> None:
    head = f"{portrait.profile_id} at {format_instant(portrait.now_ms)}"
    if portrait.first_ms is not None and portrait.latest_ms is not None:
        head += f", seen {format_instant(portrait.first_ms)} to {format_instant(portrait.latest_ms)}"
    parts: tuple[tuple[str, list[str]], ...] = (
        ("identifiers", [_identifier(each) for each in portrait.identifiers]),
        ("awaits the answer of", [*portrait.awaits, *_held(portrait.held)]),
        ("traits", [f"{name}: {_shown(value)}" for name, value in sorted(portrait.traits.items())]),
        ("features", [_feature(each) for each in portrait.features]),
        ("memberships", [_membership(each) for each in portrait.memberships]),
    )
    say_all([head, *(line for name, lines in parts if lines for line in _branch(name, lines))])


def _branch(name: str, lines: list[str]) -> Iterator[str]:
    yield name
    for number, line in enumerate(lines, 1):
        yield f"{'└─' if number == len(lines) else '├─'} {line}"


def _held(number: int) -> Iterator[str]:
    if number:
        yield f"({number} events are held until then)"


_ORIGINS = {
    ITSELF: "the profile's own, first event",
    EVENT: "carried by an event",
    TAKEN_OVER: "of a profile taken over by an event",
}


def _identifier(found: Identifier) -> str:
    event = "" if found.event_id is None else f" {found.event_id}"
    when = "" if found.at_ms is None else f" of {format_instant(found.at_ms)}"
    return f"{found.identifier}: {_ORIGINS[found.origin]}{event}{when}"


def _feature(kept: FeatureView) -> str:
    return f"{kept.label}: {'at least ' if kept.value_is_least else ''}{_shown(kept.value)}"


def _membership(found: MembershipView) -> str:
    name = "" if found.name == found.segment_key else f" ({found.name})"
    reason = "" if found.reason is None else f", reason {found.reason}"
    cause = "" if found.event_id is None else f" {found.event_id}"
    end = "for ever" if found.until is None else f"until {format_instant(found.until)}"
    since = f"since {format_instant(found.since)}{reason}{cause}"
    return f"{found.segment_key}{name}, version {found.version}: {since}, {end} if nothing more happens"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


_FORMATS: dict[str, Callable[[ProfileView], None]] = {"tree": _tree, "json": _json}


@click.command(epilog=_EPILOG)
@click.argument("identifier", metavar="ID")
@click.option(
    "--url", metavar="URL", help="Of any worker of the group; else SEGOPS_WEB_HOST and SEGOPS_WEB_PORT."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(list(_FORMATS)),
    default="tree",
    show_default=True,
    help="How it is printed.",
)
def command(identifier: str, url: str | None, form: str) -> None:
    """Print what a running system knows of the person of ID: any identifier, as in user_id:ann.

    Shows the identifiers and where they come from, traits, features, and memberships with since, why and
    until.
    The worker that is asked says which one has the profile, and that one is asked.
    """
    kind, colon, value = identifier.partition(":")
    if not (kind and colon and value):
        raise UserError(f"{identifier!r} is no identifier: <type>:<value> is wanted, as in user_id:ann")
    worker = load().worker
    token = None if worker.web_token is None else worker.web_token.get_secret_value()
    wanted = f"{kind}:{value.lower()}" if kind == "email" else identifier
    base = (url or f"http://{worker.web_host}:{worker.web_port}").rstrip("/")
    _FORMATS[form](_ask(base + path_of(wanted), wanted, token))


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_request: Any) -> None:
        """None: whoever asks is told, and follows it, or not."""


def _ask(url: str, identifier: str, token: str | None) -> ProfileView:
    # No proxy: the workers are asked directly, and what they say is personal data.
    opener = urllib.request.build_opener(_NoRedirects, urllib.request.ProxyHandler({}))
    for _ in range(_MAX_REDIRECTS):
        status, body, location = _get(opener, url, token)
        if status != 307 or location is None:
            return _read(status, body, url, identifier)
        url = location
    raise SegopsError("the workers do not agree on who has the profile: partitions move, try again")


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        (parts.hostname or "").encode("idna")
        return parts.scheme in ("http", "https") and parts.port != 0 and re.search(r"[^!-~]", url) is None
    except ValueError:  # brackets, the port, or a label of the name
        return False


def _get(opener: urllib.request.OpenerDirector, url: str, token: str | None) -> tuple[int, bytes, str | None]:
    if not _is_url(url):
        raise UserError(f"{url!r} is no URL of a worker, such as http://127.0.0.1:6066")
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the scheme is looked at
    try:
        with opener.open(request, timeout=_TIMEOUT_S) as answer:
            return answer.status, answer.read(), None
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), error.headers.get("Location")
    except (OSError, http.client.HTTPException) as error:
        raise SegopsError(f"no worker answers at {_place(url)}: {error}") from error


def _read(status: int, body: bytes, url: str, identifier: str) -> ProfileView:
    if status == 200:
        try:
            return msgspec.json.decode(body, type=ProfileView)
        except msgspec.MsgspecError as error:
            raise SegopsError(f"{_place(url)} does not answer as a worker does: {error}") from error
    if status == 404 and body == b"unknown\n":
        raise SegopsError(f"nothing is known of {identifier!r}")
    if status == 503:
        raise SegopsError(f"the worker at {_place(url)} is not ready: try again in a moment")
    said = body[:200].decode(errors="replace").strip()
    raise SegopsError(f"{_place(url)} answers {status}: {said}")


def _place(url: str) -> str:
    """Where, without whose profile it is."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
