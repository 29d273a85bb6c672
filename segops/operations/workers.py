"""What any worker of the group answers about one profile, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec
from yarl import URL

from segops.api.profiles import path_of
from segops.api.timeline import RecentTimeline
from segops.config import Settings
from segops.core.errors import SegopsError, UserError
from segops.core.views.explain import Explanation
from segops.core.views.profile import ProfileView
from segops.core.views.sandbox import SandboxView
from segops.schemas.sandbox import SandboxForm

TIMEOUT_S: Final = 10.0
_MAX_REDIRECTS: Final = 100
_MAX_BYTES: Final = 64 << 20
_T = TypeVar("_T")


class UnknownProfile(SegopsError):
    """No profile has the identifier."""


class NoWorker(SegopsError):
    """No worker answers, or those that do are not ready or busy: the same question may succeed later."""


class Workers:
    """Asks workers. Use ``asking_workers``."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self._session = session
        self._base = base

    async def profile(self, identifier: str) -> ProfileView:
        """Return a profile. Raises UnknownProfile, NoWorker, UserError (a wrong identifier), SegopsError."""
        return await self._ask(_Question(path_of(identifier)), ProfileView)

    async def timeline(self, identifier: str, **query: str) -> RecentTimeline:
        """Return the newest entries of a profile's timeline. Raises as ``profile``."""
        return await self._ask(_Question(f"{path_of(identifier)}/timeline", query), RecentTimeline)

    async def explanation(
        self, identifier: str, segments: str = "", *, days: int | None = None
    ) -> Explanation:
        """Return why a profile is in ``segments`` (keys separated by commas; "": those that it is in).

        ``days``: also the scores that segments read, with curves so far ahead.
        """
        query = {"segments": segments} if segments else {}
        query |= {} if days is None else {"scores": str(days)}
        return await self._ask(_Question(f"{path_of(identifier)}/explanation", query), Explanation)

    async def sandbox(self, identifier: str, form: SandboxForm) -> SandboxView:
        """Return what events and time would change. Raises as ``profile``, UserError for a wrong form."""
        body = msgspec.json.encode(form)
        return await self._ask(_Question(f"{path_of(identifier)}/sandbox", {}, body), SandboxView)

    async def _ask(self, question: _Question, kind: type[_T]) -> _T:
        url, query = f"{self._base}{question.path}", question.query
        for _ in range(_MAX_REDIRECTS):
            status, body, location = await self._send(url, query, question.body)
            if status != 307 or not location:
                return _read(status, body, url, kind)
            url, query = location, {}  # a location has the query already
        raise NoWorker("too many redirects between workers: partitions are being reassigned; retry")

    async def _send(
        self, url: str, query: Mapping[str, str], body: bytes | None
    ) -> tuple[int, bytes, str | None]:
        method = "GET" if body is None else "POST"
        try:
            async with self._session.request(
                method, URL(url, encoded=True), params=query, data=body, allow_redirects=False
            ) as answer:
                return answer.status, await _bounded(answer), answer.headers.get("Location")
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, ValueError) as error:
            raise UserError(f"expected a worker's URL like http://127.0.0.1:6066, got {url!r}") from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            reason = str(error) or "it took too long"
            raise NoWorker(f"no worker answers at {_address(url)}: {reason}") from error


class _Question(NamedTuple):
    path: str
    query: Mapping[str, str] = {}
    body: bytes | None = None


@asynccontextmanager
async def asking_workers(
    settings: Settings, url: str | None = None, *, timeout_s: float = TIMEOUT_S
) -> AsyncIterator[Workers]:
    """Provide what asks the worker at ``url``, and those that it names; by default that of the settings."""
    worker = settings.worker
    host = f"[{worker.web_host}]" if ":" in worker.web_host else worker.web_host
    base = (url or f"http://{host}:{worker.web_port}").rstrip("/")
    token = None if worker.web_token is None else worker.web_token.get_secret_value()
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    # No proxy of the environment: workers are reached directly, and their answers are personal data.
    async with aiohttp.ClientSession(headers=headers, timeout=timeout, trust_env=False) as session:
        yield Workers(session, base)


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > _MAX_BYTES:
            raise aiohttp.ClientPayloadError("the answer is too long")
    return bytes(body)


def _read(status: int, body: bytes, url: str, kind: type[_T]) -> _T:
    if status == 200:
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise SegopsError(f"{_address(url)} does not answer like a worker: {error}") from error
    text = body[:1_000].decode(errors="replace").strip()
    if status == 404 and body == b"unknown\n":
        raise UnknownProfile("no profile has this identifier")
    if status == 400:
        raise UserError(text)
    if status == 503:
        raise NoWorker(f"the worker at {_address(url)} is not ready ({text}); retry in a moment")
    raise SegopsError(f"{_address(url)} answered {status}: {text}")


def _address(url: str) -> str:
    """Return the URL without its path, which names a person."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
