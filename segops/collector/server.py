"""The collector's HTTP server: the paths of Segment's and RudderStack's APIs, behind strict limits."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from aiohttp import ClientPayloadError
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import BaseRequest, Response

from segops.api.connections import BoundedServer, last, response
from segops.api.health import Page
from segops.api.refusals import RequestRefused, refused_page
from segops.collector.body import MAX_BODY_BYTES, too_large
from segops.collector.headers import cors, public_url, sender_address, write_key
from segops.collector.ingest import Accepted, Call, Ingest
from segops.collector.metrics import CollectorMetrics
from segops.collector.pages import SUCCESS, accepted_page, rudder_settings, segment_settings
from segops.collector.webhooks import MAX_WEBHOOK_BYTES, SHOPIFY_PATH, Delivered, Webhooks
from segops.config import CollectSettings

log = logging.getLogger(__name__)

_KINDS: Final = ("track", "identify", "page", "screen", "group", "alias")
#: Path -> the type of an event that names none.
EVENT_PATHS: Final[Mapping[str, str | None]] = {
    **{f"/v1/{kind}": kind for kind in _KINDS},
    **{f"/v1/{kind[0]}": kind for kind in _KINDS},
    **dict.fromkeys(("/v1/batch", "/v1/import", "/v1/b")),
}
SEGMENT_SETTINGS: Final = ("/v1/projects/{key}/settings", "/projects/{key}/settings")
RUDDER_SETTINGS: Final = ("/sourceConfig/", "/sourceConfig")
_PROJECT: Final = re.compile(r"(?:/v1)?/projects/([^/]+)/settings")
#: How long an unread body is read and discarded, so that its sender sees why it was refused.
_LINGER_S: Final = 1.0


class _Answer(NamedTuple):
    page: Page
    source: str = "unknown"
    close: bool = False


class CollectorServer(BoundedServer):
    """Serves an ``Ingest``, and the ``webhooks`` of Shopify if a secret is set."""

    def __init__(
        self,
        ingest: Ingest,
        settings: CollectSettings,
        counts: CollectorMetrics,
        *,
        webhooks: Webhooks | None = None,
    ) -> None:
        super().__init__(
            self._respond,
            timeout_s=settings.read_timeout_ms / 1000,
            connections=settings.connections,
            linger_s=_LINGER_S,
        )
        self._ingest = ingest
        self._settings = settings
        self._metrics = counts
        self._webhooks = webhooks

    async def _respond(self, request: BaseRequest) -> Response:
        started = asyncio.get_running_loop().time()
        path = request.rel_url.raw_path
        if request.method == "OPTIONS":
            answer = _Answer(Page(204, b""))
        elif path in EVENT_PATHS or (path == SHOPIFY_PATH and self._webhooks is not None):
            answer = await self._events(request, path)
            self._metrics.requests.labels(answer.source, str(answer.page.status)).inc()
            self._metrics.seconds.observe(asyncio.get_running_loop().time() - started)
        else:
            answer = _Answer(self._other(request, path))
        found = last(answer.page) if answer.close else response(answer.page)
        found.headers.update(
            cors(
                request.headers.get("Origin"),
                asked_names=request.headers.get("Access-Control-Request-Headers"),
                preflight=request.method == "OPTIONS",
            )
        )
        return found

    async def _events(self, request: BaseRequest, path: str) -> _Answer:
        if request.method != "POST":
            page = refused_page(RequestRefused(405, "method", "expected POST"))
            return _Answer(page._replace(headers={"Allow": "POST, OPTIONS"}))
        try:
            accepted = await self._accept(request, path)
        except RequestRefused as refused:
            return _Answer(refused_page(refused), self._source_of(request), refused.close)
        except Exception:
            log.exception("cannot process a request to %s", path)
            return _Answer(refused_page(RequestRefused(500, "internal", "failed")), close=True)
        # Shopify retries whatever is not 2xx, and gives up on a subscription that keeps failing.
        page = SUCCESS if path == SHOPIFY_PATH else accepted_page(accepted)
        return _Answer(page, accepted.source)

    def _source_of(self, request: BaseRequest) -> str:
        key = write_key(request.headers.getall("Authorization", []))
        source = self._ingest.sources.get(key or "")
        return "unknown" if source is None else source.name

    async def _accept(self, request: BaseRequest, path: str) -> Accepted:
        headers, delivery = request.headers, self._ingest.delivery
        body = bytearray()
        try:
            if path == SHOPIFY_PATH and self._webhooks is not None:
                await self._read(request, body, MAX_WEBHOOK_BYTES)
                return await self._webhooks.accept(Delivered(request.headers, bytes(body)))
            await self._read(request, body)
            call = Call(
                path,
                EVENT_PATHS[path],
                bytes(body),
                headers.get("Content-Encoding", ""),
                key=write_key(headers.getall("Authorization", [])),
                origin=headers.get("Origin"),
                address=sender_address(
                    request.remote, headers.getall("X-Forwarded-For", []), self._settings.proxies
                ),
                user_agent=headers.get("User-Agent"),
                sent_at=headers.get("SentAt"),
            )
            return await self._ingest.accept(call)
        finally:
            delivery.body_bytes -= len(body)

    async def _read(self, request: BaseRequest, body: bytearray, limit: int = MAX_BODY_BYTES) -> None:
        """Read a request's body into ``body``, and count its bytes. Raises RequestRefused."""
        delivery = self._ingest.delivery
        if (request.content_length or 0) > limit:
            raise too_large(limit)
        delivery.check_room()
        try:
            async with asyncio.timeout(self.timeout_s):
                async for chunk in request.content.iter_any():
                    body += chunk
                    delivery.body_bytes += len(chunk)
                    delivery.check_room()
                    if len(body) > limit:
                        raise too_large(limit)
        except TimeoutError:
            raise RequestRefused(408, "too_slow", "the body did not arrive in time", close=True) from None
        except (ClientPayloadError, HttpProcessingError, ConnectionError) as error:
            raise RequestRefused(
                400, "bad_body", f"cannot read the body: {type(error).__name__}", close=True
            ) from None

    def _other(self, request: BaseRequest, path: str) -> Page:
        project = _PROJECT.fullmatch(path)
        if path not in RUDDER_SETTINGS and project is None:
            return refused_page(RequestRefused(404, "no_such_path", "no such path"))
        if request.method not in ("GET", "HEAD"):
            page = refused_page(RequestRefused(405, "method", "expected GET"))
            return page._replace(headers={"Allow": "GET, HEAD, OPTIONS"})
        header = write_key(request.headers.getall("Authorization", []))
        key = project[1] if project else header or request.rel_url.query.get("writeKey") or ""
        source = self._ingest.sources.get(key)
        if source is None:
            return refused_page(
                RequestRefused(404 if project else 401, "unknown_write_key", "unknown write key")
            )
        return rudder_settings(key, source) if project is None else segment_settings(key, self._url(request))

    def _url(self, request: BaseRequest) -> str:
        scheme = request.headers.get("X-Forwarded-Proto") if self._settings.proxies else None
        return public_url(self._settings.url, request.headers.get("Host"), scheme)
