"""Requests to destinations: no redirects, bounded answers, and each failure by whose turn it is."""

from __future__ import annotations

import email.utils
import math
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector
from aiohttp.abc import AbstractResolver

from segops.core.text import printable
from segops.destinations.port import DestinationAway, DestinationRefuses
from segops.metrics import Metrics
from segops.wall_clock import wall_ms

_MAX_BODY_BYTES: Final = 16 << 20
_MAX_DETAIL: Final = 300
_LONGEST_RETRY_AFTER_S: Final = 3_600.0
_AWAY: Final = (408, 425, 429)
#: Headers that say when to come back, the first one first.
_WAITS: Final = ("Retry-After", "RateLimit-Reset", "X-RateLimit-Reset")
#: Greater numbers of seconds are an instant.
_UNIX_S: Final = 1_000_000_000
_REFUSES: Final = (401, 403)
#: Secrets that were obtained later and may still be repeated: the latest and those before it.
_OBTAINED: Final = 8


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the destination to one request: its status is 2xx, or 4xx of this request alone."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    secrets: Sequence[str] = field(default=(), repr=False)

    @property
    def is_accepted(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def detail(self) -> str:
        """The status and the beginning of the body, for people, without secrets that the server repeats."""
        return f"status {self.status} {self.shown(self.body.decode(errors='replace'))}".rstrip()

    def shown(self, text: str) -> str:
        """Return the beginning of a text of the answer, likewise."""
        return _shown(text, self.secrets)


class HttpClient:
    """The client of one destination. Headers and bodies of requests are never logged, nor part of an error.

    ``secrets``: what must not be shown even if an answer repeats it, in each form that is sent. ``by_body``:
    statuses that raise nothing, as the caller decides by the body.
    """

    def __init__(
        self,
        name: str,
        metrics: Metrics,
        *,
        timeout_s: float,
        secrets: Sequence[str] = (),
        by_body: Collection[int] = (),
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._name = name
        self._metrics = metrics
        self._timeout = ClientTimeout(total=timeout_s, sock_connect=min(10.0, timeout_s))
        self._secrets = tuple(secrets)
        self._obtained: deque[str] = deque(maxlen=_OBTAINED)
        self._by_body = frozenset(by_body)
        self._resolver = resolver
        self._session: ClientSession | None = None

    async def send(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None = None
    ) -> Answer:
        """Return the answer to a request.

        Raises DestinationAway if there is none, or a status that says to come back (408, 425, 429, 5xx), and
        DestinationRefuses for wrong credentials (401, 403) and for a redirect.
        """
        if self._session is None:
            connector = TCPConnector(resolver=self._resolver, limit=64)
            self._session = ClientSession(connector=connector, timeout=self._timeout, trust_env=False)
            # A request that the client repeats by itself is within no rate: callers repeat, at their pace.
            self._session._retry_connection = False  # noqa: SLF001
        status, secrets = "failed", (*self._secrets, *self._obtained)
        try:
            async with self._session.request(
                method, url, data=body, headers=headers, allow_redirects=False
            ) as response:
                body_read = await _body(response.content)
                found = Answer(response.status, response.headers, body_read, secrets)
                status = str(found.status)
        except (ClientError, OSError, TimeoutError) as error:
            raise DestinationAway(f"{type(error).__name__}: {_shown(str(error), secrets)}") from None
        finally:
            self._metrics.delivery.requests.labels(self._name, status).inc()
        return found if found.status in self._by_body else _checked(found)

    def hide(self, secret: str) -> None:
        """Show a secret that was obtained after the client was opened nowhere."""
        self._obtained.append(secret)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


async def _body(content: object) -> bytes:
    body = bytearray()
    async for chunk in content.iter_any():  # type: ignore[attr-defined]
        body += chunk
        if len(body) > _MAX_BODY_BYTES:
            raise DestinationRefuses(f"the answer has more than {_MAX_BODY_BYTES} bytes")
    return bytes(body)


def _shown(text: str, secrets: Sequence[str]) -> str:
    r"""Return the beginning of a text; secrets are replaced first, so that none is cut in its middle.

    Some servers escape slashes in JSON.

    >>> _shown('{"got": "Basic YS9i"}', ["YS9i"]), _shown(r"a\/b", ["a/b"])
    ('{"got": "Basic [secret]"}', '[secret]')
    """
    for secret in secrets:
        for form in (secret, secret.replace("/", r"\/")):
            text = text.replace(form, "[secret]")
    return printable(text[:_MAX_DETAIL])


def _checked(found: Answer) -> Answer:
    if found.status in _AWAY or found.status >= 500:
        raise DestinationAway(
            found.detail, retry_after_s=retry_after_s(found.headers, now_s=wall_ms() / 1000)
        )
    if found.status in _REFUSES or 300 <= found.status < 400:
        raise DestinationRefuses(found.detail, status=found.status)
    return found


def retry_after_s(headers: Mapping[str, str], *, now_s: float) -> float:
    """Return the seconds that an answer asks to wait for: a number or an HTTP date; 0 if it does not say.

    Without ``Retry-After``, the end of a rate limit's window counts: in seconds, or as seconds of Unix time.

    >>> retry_after_s({"Retry-After": "7"}, now_s=0), retry_after_s({"Retry-After": "soon"}, now_s=0)
    (7.0, 0.0)
    >>> retry_after_s({"Retry-After": "Thu, 01 Jan 1970 00:01:00 GMT"}, now_s=50)
    10.0
    >>> retry_after_s({"RateLimit-Reset": "5"}, now_s=0)
    5.0
    >>> retry_after_s({"X-RateLimit-Reset": "1760000003"}, now_s=1_760_000_000)
    3.0
    """
    text = next((headers[name] for name in _WAITS if name in headers), "")
    try:
        found = float(text)
        found -= now_s if found > _UNIX_S else 0
    except ValueError:
        try:
            found = email.utils.parsedate_to_datetime(text).timestamp() - now_s
        except (ValueError, TypeError):
            return 0.0
    return min(max(found, 0.0), _LONGEST_RETRY_AFTER_S) if math.isfinite(found) else 0.0
