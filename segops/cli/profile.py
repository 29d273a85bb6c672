"""``segops profile``: one person's profile in a running system."""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import click
import msgspec

from segops.api.profiles import path_of
from segops.cli._indicators import indicator_line
from segops.cli._kafka import run
from segops.cli._params import INSTANT, formats
from segops.cli._say import say_all, say_text
from segops.config import load
from segops.core.errors import SegopsError, UserError
from segops.core.identifiers import identifier_of
from segops.core.values import format_instant
from segops.core.views.history import PastMembership
from segops.core.views.profile import (
    EVENT,
    ITSELF,
    TAKEN_OVER,
    FeatureView,
    Identifier,
    MembershipView,
    ProfileView,
)
from segops.operations.history import memberships_at

_EPILOG = """
\b
Examples:
  segops profile user_id:ann
  segops profile email:ann@example.com --url http://127.0.0.1:6067 --format json
  segops profile user_id:ann --at 2026-05-01T12:00:00Z
"""
_TIMEOUT_S: Final = 10
_MAX_REDIRECTS: Final = 100


def _json(view: ProfileView) -> None:
    say_text(msgspec.json.format(msgspec.json.encode(view), indent=2).decode())


def _tree(view: ProfileView) -> None:
    head = f"{view.profile_id} at {format_instant(view.now_ms)}"
    if view.first_ms is not None and view.latest_ms is not None:
        head += f", seen {format_instant(view.first_ms)} to {format_instant(view.latest_ms)}"
    parts: tuple[tuple[str, list[str]], ...] = (
        ("identifiers", [_identifier(each) for each in view.identifiers]),
        ("waiting for", [*view.awaits, *_held(view.held)]),
        ("traits", [f"{name}: {_shown(value)}" for name, value in sorted(view.traits.items())]),
        ("features", [_feature(each) for each in view.features]),
        ("lists", list(view.lists)),
        ("memberships", [_membership(each) for each in view.memberships]),
        ("indicators", [indicator_line(each) for each in view.indicators]),
    )
    say_all([head, *(line for name, lines in parts if lines for line in _branch(name, lines))])


def _branch(name: str, lines: list[str]) -> Iterator[str]:
    yield name
    for number, line in enumerate(lines, 1):
        yield f"{'└─' if number == len(lines) else '├─'} {line}"


def _held(number: int) -> Iterator[str]:
    if number:
        yield f"({number} events are held meanwhile)"


_ORIGINS = {
    ITSELF: "the profile's own, first event",
    EVENT: "from event",
    TAKEN_OVER: "of a profile merged into this one by event",
}


def _identifier(found: Identifier) -> str:
    event = "" if found.event_id is None else f" {found.event_id}"
    when = "" if found.at_ms is None else f" at {format_instant(found.at_ms)}"
    return f"{found.identifier}: {_ORIGINS[found.origin]}{event}{when}"


def _feature(feature: FeatureView) -> str:
    since = feature.complete_since
    note = "" if since is None else f" (of events since {format_instant(since)})"
    return f"{feature.label}: {'at least ' if feature.value_is_least else ''}{_shown(feature.value)}{note}"


def _membership(found: MembershipView) -> str:
    name = "" if found.name == found.segment_key else f" ({found.name})"
    reason = "" if found.reason is None else f", reason {found.reason}"
    cause = "" if found.event_id is None else f" {found.event_id}"
    end = "indefinitely" if found.until is None else f"until {format_instant(found.until)}"
    since = f"since {format_instant(found.since)}{reason}{cause}"
    ends = "paused" if found.paused else f"{end} if nothing more happens"
    return f"{found.segment_key}{name}, version {found.version}: {since}, {ends}"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


_FORMATS: dict[str, Callable[[ProfileView], None]] = {"tree": _tree, "json": _json}


def _past_tree(at_ms: int, profile_id: str, memberships: Sequence[PastMembership]) -> None:
    lines = [_past(each) for each in memberships]
    say_all([f"{profile_id} at {format_instant(at_ms)}", *(_branch("memberships", lines) if lines else ())])


def _past(found: PastMembership) -> str:
    since = "before the retained changes" if found.since is None else format_instant(found.since)
    reason = "" if found.reason is None else f", reason {found.reason}"
    cause = "" if found.event_id is None else f" {found.event_id}"
    end = "indefinitely" if found.until is None else f"until {format_instant(found.until)}"
    return f"{found.segment_key}, version {found.version}: since {since}{reason}{cause}, {end}"


def _past_json(at_ms: int, profile_id: str, memberships: Sequence[PastMembership]) -> None:
    view = {"profile_id": profile_id, "at_ms": at_ms, "memberships": memberships}
    say_text(msgspec.json.format(msgspec.json.encode(view), indent=2).decode())


_PAST_FORMATS: dict[str, Callable[[int, str, Sequence[PastMembership]], None]] = {
    "tree": _past_tree,
    "json": _past_json,
}


@click.command(epilog=_EPILOG)
@click.argument("identifier", metavar="ID")
@click.option(
    "--url",
    metavar="URL",
    help="URL of any worker of the group. Default: SEGOPS_WEB_HOST and SEGOPS_WEB_PORT.",
)
@formats(_FORMATS)
@click.option("--at", "at_ms", type=INSTANT, help="Show the memberships at this past instant only.")
def command(identifier: str, url: str | None, form: str, at_ms: int | None) -> None:
    """Show the profile of the person with the identifier ID, such as user_id:ann, in a running system.

    Prints the identifiers and their origins, traits, features, static lists, memberships with start, reason
    and end, and indicators with their values, and those published last.
    Any worker can be asked: it redirects to the one that owns the profile's partition.

    With --at, the answer comes from the published changes instead, with SEGOPS_ARCHIVE_URL from the archive's
    too, and ID is the id of a profile; if that had been merged by then, the memberships are those of the
    profile that it was merged into.
    """
    canonical = identifier_of(identifier)
    if at_ms is not None:
        _PAST_FORMATS[form](at_ms, *run(lambda settings: memberships_at(settings, canonical, at_ms)))
        return
    worker = load().worker
    token = None if worker.web_token is None else worker.web_token.get_secret_value()
    base = (url or f"http://{worker.web_host}:{worker.web_port}").rstrip("/")
    _FORMATS[form](_fetch(base + path_of(canonical), canonical, token))


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_request: Any) -> None:
        """Return None, so that the redirect is raised and followed by `_fetch`."""


def _fetch(url: str, identifier: str, token: str | None) -> ProfileView:
    # No proxy: workers are reached directly, and their answers are personal data.
    opener = urllib.request.build_opener(_NoRedirects, urllib.request.ProxyHandler({}))
    for _ in range(_MAX_REDIRECTS):
        status, body, location = _get(opener, url, token)
        if status != 307 or location is None:
            return _read(status, body, url, identifier)
        url = location
    raise SegopsError("too many redirects between workers: partitions are being reassigned; retry")


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        (parts.hostname or "").encode("idna")
        return parts.scheme in ("http", "https") and parts.port != 0 and re.search(r"[^!-~]", url) is None
    except ValueError:  # invalid brackets, port or host name label
        return False


def _get(opener: urllib.request.OpenerDirector, url: str, token: str | None) -> tuple[int, bytes, str | None]:
    if not _is_url(url):
        raise UserError(f"expected a worker's URL like http://127.0.0.1:6066, got {url!r}")
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the scheme is checked
    try:
        with opener.open(request, timeout=_TIMEOUT_S) as answer:
            return answer.status, answer.read(), None
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), error.headers.get("Location")
    except (OSError, http.client.HTTPException) as error:
        raise SegopsError(f"no worker answers at {_address(url)}: {error}") from error


def _read(status: int, body: bytes, url: str, identifier: str) -> ProfileView:
    if status == 200:
        try:
            return msgspec.json.decode(body, type=ProfileView)
        except msgspec.MsgspecError as error:
            raise SegopsError(f"{_address(url)} does not answer like a worker: {error}") from error
    if status == 404 and body == b"unknown\n":
        raise SegopsError(f"unknown identifier {identifier!r}")
    if status == 503:
        raise SegopsError(f"the worker at {_address(url)} is not ready; retry in a moment")
    text = body[:200].decode(errors="replace").strip()
    raise SegopsError(f"{_address(url)} answered {status}: {text}")


def _address(url: str) -> str:
    """Return the URL without its path, which names a person."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
