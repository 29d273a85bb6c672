"""The pages that scan all profiles: /segments/{key}/forecast, /overlap and /estimate."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from segops.api.access import Access
from segops.api.health import Page
from segops.api.profiles import JSON, PRIVATE
from segops.core.errors import SegopsError, UserError
from segops.core.text import printable
from segops.schemas.scan_views import view_estimate, view_forecast, view_overlap
from segops.schemas.scans import (
    ForecastRequest,
    OverlapRequest,
    Question,
    ScanBusy,
    Scanned,
    ScanRefused,
    ScanTimeout,
    estimate_request,
)
from segops.schemas.segments import inline

log = logging.getLogger(__name__)

#: The most bytes of the body of a request.
MAX_BODY: Final = 256 << 10
#: Scans that this server requests at a time.
_AT_ONCE: Final = 2
_LATER: Final = {"Retry-After": "5"}
_FORECAST: Final = re.compile(r"^/segments/([a-z0-9-]{1,64})/forecast\Z")


class Call(NamedTuple):
    """A request: ``path`` percent-encoded and without its ``query``; ``body`` reads up to ``MAX_BODY`` bytes.

    ``body`` returns None for a longer one.
    """

    method: str
    path: str
    query: Mapping[str, str]
    authorization: str | None
    body: Callable[[], Awaitable[bytes | None]]


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a request for an estimate."""

    segments: list[Any]
    rfm: Any = None
    places: Any = None
    indicators: Any = None
    scores: Any = None
    segment: str | None = None
    sample: float = 1.0
    samples: int = 0
    funnel: bool = False


class _Refused(Exception):
    """A page that ends the handling of a request."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.page = Page(status, printable(text, lines=True).encode() + b"\n")


class ScanPages:
    """Answers requests that take a scan; ``scan`` runs one. See ``Access`` for who may request one."""

    #: The methods and paths that have a page.
    routes: Final = ("GET /segments/{key}/forecast", "GET /overlap", "POST /estimate")

    def __init__(self, scan: Callable[[Question], Awaitable[Scanned]], access: Access) -> None:
        self._scan = scan
        self._access = access
        self._running = 0

    def has(self, path: str) -> bool:
        """Return whether ``path`` is one of these pages."""
        return path in ("/overlap", "/estimate") or _FORECAST.match(path) is not None

    async def page(self, call: Call) -> Page:
        """Return the answer to a request for one of these pages, once the scan has ended."""
        method = "POST" if call.path == "/estimate" else "GET"
        if call.method != method:
            return Page(405, f"expected {method}\n".encode(), headers={"Allow": method})
        refusal = self._access.refusal(call.authorization)
        if refusal is not None:
            return refusal
        if self._running >= _AT_ONCE:
            return Page(503, b"busy: other scans are running\n", headers=_LATER)
        self._running += 1
        try:
            return await self._answered(call)
        except _Refused as refused:
            return refused.page
        except TimeoutError:
            return Page(408, b"the body did not arrive in time\n")
        except Exception:
            log.exception("cannot answer a scan")
            return Page(500, b"failed\n")
        finally:
            self._running -= 1

    async def _answered(self, call: Call) -> Page:
        question, view = await _question(call)
        try:
            scanned = await self._scan(question)
        except ScanRefused as error:
            raise _Refused(422, str(error)) from error
        except ScanBusy as error:
            return Page(503, f"busy: {error}\n".encode(), headers=_LATER)
        except ScanTimeout as error:
            raise _Refused(504, str(error)) from error
        except SegopsError as error:
            raise _Refused(500, str(error)) from error
        return Page(200, msgspec.json.encode(view(scanned)), JSON, PRIVATE)


_View = Callable[[Scanned], msgspec.Struct]


async def _question(call: Call) -> tuple[Question, _View]:
    """Return what a request asks, and how its result is shown. Raises _Refused for an invalid request."""
    try:
        if found := _FORECAST.match(call.path):
            return ForecastRequest((found[1],)), view_forecast
        if call.path == "/overlap":
            keys = call.query.get("segments", "")
            return OverlapRequest(tuple(key for key in keys.split(",") if key)), view_overlap
        return _estimate(await call.body()), view_estimate
    except ValueError as error:
        raise _Refused(400, str(error)) from error


def _estimate(body: bytes | None) -> Question:
    if body is None:
        raise _Refused(413, f"expected a body of at most {MAX_BODY:,} bytes")
    try:
        form = msgspec.json.decode(body, type=_Body)
        drafts = inline(
            form.segments,
            "body",
            "segments",
            rfm=form.rfm,
            areas=form.places,
            indicators=form.indicators,
            scores=form.scores,
        )
    except (msgspec.MsgspecError, UserError, UnicodeDecodeError, RecursionError) as error:
        raise _Refused(400, str(error)) from error
    keys = [each.key for each in drafts]
    chosen = keys[0] if len(keys) == 1 and form.segment is None else form.segment
    if chosen not in keys:
        raise _Refused(400, f"segment: expected one of {', '.join(keys)}, got {chosen!r}")
    return estimate_request(chosen, drafts, share=form.sample, samples=form.samples, funnel=form.funnel)
