"""The page of a profile's recent events and membership changes: /profiles/{id}/timeline."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes, urlencode

import msgspec

from segops.api.access import Access
from segops.api.health import Page
from segops.api.parameters import at_most, instant, parameters
from segops.api.profiles import JSON, PRIVATE, RETRY, Elsewhere, NotReady, path_of
from segops.api.scans import Call
from segops.core.errors import SegopsError, UserError
from segops.core.values import MAX_MS
from segops.core.views.profile import ProfileView
from segops.core.views.timeline import TimelineEntry
from segops.kafka.reachability import Unreachable

log = logging.getLogger(__name__)

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1_000
#: Timelines that this server reads at a time.
_AT_ONCE: Final = 2
_LATER: Final = {"Retry-After": "5"}
_PATH: Final = re.compile(r"^/profiles/([^/]+)/timeline\Z")
_READS: Final = {"limit": at_most(MAX_LIMIT), "from": instant, "to": instant}


class TimelineRequest(NamedTuple):
    """What a request asks for: the newest ``limit`` entries with ``from_ms <= time < to_ms``."""

    limit: int = DEFAULT_LIMIT
    from_ms: int = -MAX_MS
    to_ms: int = MAX_MS


class RecentTimeline(msgspec.Struct, frozen=True):
    """The newest entries of a profile by time, oldest first.

    ``left_out``: how many older ones exceed the limit. Of the events and changes that arrived before
    ``events_since_ms`` and ``changes_since_ms`` not all were read; 0: all were, back to ``from``.
    """

    profile_id: str
    entries: list[TimelineEntry]
    left_out: int
    events_since_ms: int
    changes_since_ms: int


class TimelinePages:
    """Answers authorized requests; ``look`` finds a profile, and ``read`` its timeline."""

    #: The methods and paths that have a page.
    routes: Final = ("GET /profiles/{id}/timeline",)

    def __init__(
        self,
        look: Callable[[str], ProfileView | Elsewhere | None],
        read: Callable[[ProfileView, TimelineRequest], Awaitable[RecentTimeline]],
        access: Access,
    ) -> None:
        self._look = look
        self._read = read
        self._access = access
        self._running = 0

    def has(self, path: str) -> bool:
        """Return whether ``path`` is one of these pages."""
        return _PATH.match(path) is not None

    async def page(self, call: Call) -> Page:
        """Return the timeline as JSON, a redirect to the worker that has the profile, or an error page."""
        if call.method != "GET":
            return Page(405, b"expected GET\n", headers={"Allow": "GET"})
        refusal = self._access.refusal(call.authorization)
        if refusal is not None:
            return refusal
        if self._running >= _AT_ONCE:
            return Page(503, b"busy: other timelines are read\n", headers=_LATER)
        self._running += 1
        try:
            return await self._answered(call)
        except (SegopsError, UserError, TimeoutError) as error:
            return next(page(error) for kind, page in _ERRORS if isinstance(error, kind))
        except Exception:
            log.exception("cannot answer a timeline")
            return Page(500, b"failed\n")
        finally:
            self._running -= 1

    async def _answered(self, call: Call) -> Page:
        request = _request(call)
        found = self._look(_identifier(call.path))
        if found is None:
            return Page(404, b"unknown\n")
        if isinstance(found, Elsewhere):
            query = f"?{urlencode(call.query)}" if call.query else ""
            location = f"{found.url}{path_of(found.identifier)}/timeline{query}"
            return Page(307, b"elsewhere\n", headers={"Location": location})
        timeline = await self._read(found, request)
        return Page(200, msgspec.json.encode(timeline), JSON, PRIVATE)


#: The first kind that an error is an instance of decides.
_ERRORS: Final[tuple[tuple[type[Exception], Callable[[Exception], Page]], ...]] = (
    (Unreachable, lambda _: Page(503, b"no broker is reachable\n", headers=RETRY)),
    (NotReady, lambda _: Page(503, b"not ready\n", headers=RETRY)),
    (UserError, lambda error: Page(400, f"{error}\n".encode())),
    (TimeoutError, lambda _: Page(504, b"the logs take too long to read: ask from a later instant on\n")),
    (SegopsError, lambda error: Page(500, f"{error}\n".encode())),
)


def _identifier(path: str) -> str:
    found = _PATH.match(path)
    try:
        identifier = unquote_to_bytes(found[1] if found else "").decode()
    except UnicodeError:
        raise UserError("expected a percent-encoded UTF-8 identifier") from None
    if ":" not in identifier:
        raise UserError("expected an identifier <type>:<value>")
    return identifier


def _request(call: Call) -> TimelineRequest:
    values = parameters(call.query.items(), _READS)
    request = TimelineRequest(
        values.get("limit", DEFAULT_LIMIT), values.get("from", -MAX_MS), values.get("to", MAX_MS)
    )
    if request.from_ms >= request.to_ms:
        raise UserError("to: expected an instant after from")
    return request
