"""The pages that say why, and what if, of one profile: /profiles/{id}/explanation and /sandbox."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote_to_bytes, urlencode

import msgspec

from segops.api.access import Access
from segops.api.health import Page
from segops.api.parameters import Read, at_most, parameters
from segops.api.profiles import JSON, PRIVATE, RETRY, Elsewhere, NotReady, path_of
from segops.api.scans import MAX_BODY, Call
from segops.core.errors import UserError
from segops.core.views.explain import Explanation, explain
from segops.core.views.sandbox import Sandbox, SandboxView
from segops.core.views.score_views import view_scores
from segops.schemas.sandbox import SandboxForm, SandboxStart, read_form, sandbox_request
from segops.schemas.state import decode_profile

log = logging.getLogger(__name__)

#: The most segments that one request explains.
MAX_EXPLAINED: Final = 100
#: The most days that curves of scores go ahead.
MAX_DAYS: Final = 365
#: Requests that this server computes at a time, in threads of their own, and how long each may take.
_AT_ONCE: Final = 2
_CPU_S: Final = 1.0
_LIMIT_S: Final = 8.0
_LATER: Final = {"Retry-After": "1"}
_PATH: Final = re.compile(r"^/profiles/([^/]+)/(explanation|sandbox)\Z")
_METHODS: Final = {"explanation": "GET", "sandbox": "POST"}


class SandboxPages:
    """Answers authorized requests; ``find`` returns where the sandbox of a profile begins."""

    #: The methods and paths that have a page.
    routes: Final = ("GET /profiles/{id}/explanation", "POST /profiles/{id}/sandbox")

    def __init__(self, find: Callable[[str], SandboxStart | Elsewhere | None], access: Access) -> None:
        self._find = find
        self._access = access
        self._running = 0

    def has(self, path: str) -> bool:
        """Return whether ``path`` is one of these pages."""
        return _PATH.match(path) is not None

    async def page(self, call: Call) -> Page:
        """Return the answer as JSON, a redirect to the worker that has the profile, or an error page."""
        identifier, kind = _route(call.path)
        method = _METHODS[kind]
        if call.method != method:
            return Page(405, f"expected {method}\n".encode(), headers={"Allow": method})
        refusal = self._access.refusal(call.authorization)
        if refusal is not None:
            return refusal
        if self._running >= _AT_ONCE:
            return Page(503, b"busy: other profiles are computed\n", headers=_LATER)
        self._running += 1
        try:
            return await self._answered(call, identifier, kind)
        except NotReady:
            return Page(503, b"not ready\n", headers=RETRY)
        except UserError as error:
            return Page(400, f"{error}\n".encode())
        except TimeoutError:
            return Page(408, b"the body did not arrive in time\n")
        except Exception:
            log.exception("cannot answer a request for a profile's %s", kind)
            return Page(500, b"failed\n")
        finally:
            self._running -= 1

    async def _answered(self, call: Call, identifier: str | None, kind: str) -> Page:
        if identifier is None or ":" not in identifier:
            raise UserError("expected a percent-encoded UTF-8 identifier <type>:<value>")
        keys, days = _asked(call)
        form = await _form(call) if kind == "sandbox" else None
        start = self._find(identifier)
        if start is None:
            return Page(404, b"unknown\n")
        if isinstance(start, Elsewhere):
            query = f"?{urlencode(call.query)}" if call.query else ""
            location = f"{start.url}{path_of(start.identifier)}/{kind}{query}"
            return Page(307, b"elsewhere\n", headers={"Location": location})
        if form is None:
            found: SandboxView | Explanation = await asyncio.to_thread(explained, start, keys, days)
        else:
            found = await asyncio.to_thread(played, start, form)
        return Page(200, msgspec.json.encode(found), JSON, PRIVATE)


def explained(start: SandboxStart, keys: frozenset[str], days: int | None = None) -> Explanation:
    """Explain segments of a profile at its clock; without ``keys``, those that it is a member of.

    ``days``: also the scores that segments read, with curves so far ahead.
    """
    profile = decode_profile(start.state)
    wanted = keys or frozenset(sorted(profile.members)[:MAX_EXPLAINED])
    now_ms = max(start.clock_ms, profile.latest_ms)
    segments = start.engine.segments
    found = explain(segments, profile, now_ms, since=start.since, keys=wanted)
    if days is None:
        return found
    return msgspec.structs.replace(found, scores=view_scores(segments, profile, now_ms, days=days))


def played(start: SandboxStart, form: SandboxForm) -> SandboxView:
    """Run a sandbox, for a bounded time. Raises UserError for an invalid form."""
    request = sandbox_request(form, start)
    copies = decode_profile(start.state), decode_profile(start.state)
    sandbox = Sandbox(
        start.engine, copies, clock_ms=start.clock_ms, since=start.since, may_go_on=_within_limits()
    )
    return sandbox.run(request.events, until_ms=request.until_ms)


def _within_limits() -> Callable[[], bool]:
    """Return what says whether this thread may go on: by its processor time, and by the clock on the wall."""
    cpu_s, until_s = time.thread_time() + _CPU_S, time.monotonic() + _LIMIT_S
    return lambda: time.thread_time() < cpu_s and time.monotonic() < until_s


def _route(path: str) -> tuple[str | None, str]:
    found = _PATH.match(path)
    if found is None:
        raise ValueError(f"no page of a profile: {path!r}")
    try:
        return unquote_to_bytes(found[1]).decode(), found[2]
    except UnicodeError:
        return None, found[2]


def _asked(call: Call) -> tuple[frozenset[str], int | None]:
    """Return the keys of the segments to explain, and how many days ahead scores are shown."""
    reads: dict[str, Read] = {"segments": str, "scores": at_most(MAX_DAYS)} if call.method == "GET" else {}
    found = parameters(call.query.items(), reads)
    keys = frozenset(key for key in found.get("segments", "").split(",") if key)
    if len(keys) > MAX_EXPLAINED:
        raise UserError(f"segments: expected at most {MAX_EXPLAINED}, got {len(keys)}")
    return keys, found.get("scores")


async def _form(call: Call) -> SandboxForm:
    body = await call.body()
    if body is None:
        raise UserError(f"expected a body of at most {MAX_BODY:,} bytes")
    return read_form(body)
