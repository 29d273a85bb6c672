"""Requests to Klaviyo: authenticated, within its limits, repeated while it is unavailable."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout

from segops.core.text import printable
from segops.kafka.outages import Pauses
from segops.klaviyo.errors import CursorExpired, KeyRefused, KlaviyoError, Unavailable
from segops.metrics import Metrics
from segops.request_rates import Rate, RateLimiter

log = logging.getLogger(__name__)

REVISION: Final = "2026-07-15"
#: How long a request is repeated before the pull gives up; a later run goes on where this one was.
PATIENCE_S: Final = 900.0
#: A page of 1,000 events has a few megabytes; nothing larger is read into memory.
_MAX_BODY_BYTES: Final = 128 << 20
_TIMEOUT: Final = ClientTimeout(total=120.0, sock_connect=10.0, sock_read=60.0)
_MAX_DETAIL: Final = 300
_LONGEST_RETRY_AFTER_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A path of Klaviyo's API with its documented rate, and the scope that a key needs for it."""

    path: str
    rate: Rate
    scope: str

    @property
    def name(self) -> str:
        """The last component of the path."""
        return self.path.rpartition("/")[2]


ACCOUNTS: Final = Endpoint("/api/accounts", Rate(1, 15), "accounts:read")
EVENTS: Final = Endpoint("/api/events", Rate(350, 3_500), "events:read")
#: The OpenAPI document says 750 a minute, the guide to rate limits 700: the lesser.
PROFILES: Final = Endpoint("/api/profiles", Rate(75, 700), "profiles:read")
ENDPOINTS: Final = (ACCOUNTS, EVENTS, PROFILES)


class _Source(msgspec.Struct):
    parameter: str = ""


class _Problem(msgspec.Struct):
    detail: str = ""
    source: _Source | None = None


class _Problems(msgspec.Struct):
    errors: list[_Problem] = []


_problems = msgspec.json.Decoder(_Problems)


class KlaviyoClient:
    """The client of one account. ``key`` is sent to ``url`` only, and never logged."""

    def __init__(
        self,
        session: ClientSession,
        url: str,
        *,
        key: str,
        metrics: Metrics,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._session = session
        self._url = url
        self._headers = {
            "Authorization": f"Klaviyo-API-Key {key}",
            "revision": REVISION,
            "Accept": "application/vnd.api+json",
        }
        self._metrics = metrics
        self._dice = dice
        self._now = asyncio.get_running_loop().time
        self._limiters = {endpoint.path: RateLimiter(endpoint.rate, self._now) for endpoint in ENDPOINTS}
        #: Why requests fail at present, or None.
        self.waits_for: str | None = None

    def close_for(self, seconds: float) -> None:
        """Send no request for ``seconds`` from now."""
        for limiter in self._limiters.values():
            limiter.close_for(seconds)

    async def get(self, endpoint: Endpoint, params: Mapping[str, str]) -> bytes:
        """Return the body of a successful answer.

        Repeats the request, with growing pauses, while Klaviyo is unavailable. Raises KeyRefused,
        CursorExpired or KlaviyoError, and Unavailable after ``PATIENCE_S``.
        """
        pauses, until = Pauses(self._dice), self._now() + PATIENCE_S
        while True:
            try:
                body = await self._once(endpoint, params)
            except Unavailable as error:
                self._note(endpoint, error)
                if self._now() > until:
                    raise
                await asyncio.sleep(max(pauses.take(), error.retry_after_s))
            else:
                self.waits_for = None
                return body

    def _note(self, endpoint: Endpoint, error: Unavailable) -> None:
        if self.waits_for is None:
            log.warning("waiting for Klaviyo: %s", error)
        self.waits_for = f"waiting for Klaviyo: {endpoint.path}: {error}"

    async def _once(self, endpoint: Endpoint, params: Mapping[str, str]) -> bytes:
        limiter = self._limiters[endpoint.path]
        async with limiter.slot() as waited_s:
            self._metrics.pull_wait_seconds.labels(endpoint.name).inc(waited_s)
            status = "failed"
            try:
                async with self._session.get(
                    self._url + endpoint.path,
                    params=params,
                    headers=self._headers,
                    timeout=_TIMEOUT,
                    allow_redirects=False,
                ) as response:
                    status = str(response.status)
                    return await _body(endpoint, response, limiter)
            except (ClientError, OSError, TimeoutError) as error:
                status = "failed"
                raise Unavailable(f"{type(error).__name__}: {_shown(str(error))}") from error
            finally:
                self._metrics.pull_requests.labels(endpoint.name, status).inc()


async def _body(endpoint: Endpoint, response: ClientResponse, limiter: RateLimiter) -> bytes:
    _note_limits(response.headers, limiter)
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > _MAX_BODY_BYTES:
            raise KlaviyoError(f"{endpoint.path}: the answer has more than {_MAX_BODY_BYTES} bytes")
    if response.status == 200:
        return bytes(body)
    raise _failure(endpoint, response, bytes(body), limiter)


def _failure(endpoint: Endpoint, response: ClientResponse, body: bytes, limiter: RateLimiter) -> Exception:
    status, found = response.status, _problem(body)
    detail = _shown(found.detail)
    if status in (401, 403):
        return KeyRefused(_refused(endpoint, status, detail))
    if status in (408, 429) or status >= 500:
        retry_after_s = _seconds(response.headers.get("Retry-After"))
        if status == 429:
            limiter.close_for(retry_after_s)
        return Unavailable(f"status {status} {detail}".rstrip(), retry_after_s=retry_after_s)
    if found.source is not None and found.source.parameter == "page[cursor]":
        return CursorExpired(f"{endpoint.path}: {detail}")
    return KlaviyoError(f"{endpoint.path}: expected status 200, got {status} {detail}".rstrip())


def _refused(endpoint: Endpoint, status: int, detail: str) -> str:
    scopes = ", ".join(sorted(each.scope for each in ENDPOINTS))
    reason = (
        "Klaviyo does not know the private API key"
        if status == 401
        else f"the private API key lacks the scope {endpoint.scope}"
    )
    return f"{endpoint.path}: {reason}; a key for segops needs the scopes {scopes} ({status} {detail})"


def _note_limits(headers: Mapping[str, str], limiter: RateLimiter) -> None:
    remaining, reset = headers.get("RateLimit-Remaining", ""), headers.get("RateLimit-Reset")
    if remaining.isdecimal() and reset is not None:
        limiter.note_remaining(int(remaining), _seconds(reset))


def _seconds(text: Any) -> float:
    """Return a number of seconds, bounded; 0 for anything else.

    >>> _seconds("2"), _seconds("soon"), _seconds("1e9"), _seconds(None)
    (2.0, 0.0, 300.0, 0.0)
    """
    try:
        found = float(text)
    except (TypeError, ValueError):
        return 0.0
    return min(max(found, 0.0), _LONGEST_RETRY_AFTER_S) if math.isfinite(found) else 0.0


def _problem(body: bytes) -> _Problem:
    try:
        errors = _problems.decode(body).errors
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _Problem()
    return errors[0] if errors else _Problem()


def _shown(text: str) -> str:
    return printable(text[:_MAX_DETAIL])
