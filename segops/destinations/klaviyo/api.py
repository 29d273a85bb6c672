"""Klaviyo's API as the adapter uses it: within its limits, each answer as a document."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

import msgspec
from yarl import URL

from segops.destinations.http import Answer, HttpClient
from segops.destinations.klaviyo.pace import Pace
from segops.destinations.port import DestinationAway, DestinationRefuses
from segops.request_rates import Rate, RateLimiter

REVISION: Final = "2026-07-15"
_TYPE: Final = "application/vnd.api+json"
_FORBIDDEN: Final = 403
_T = TypeVar("_T")


class Endpoint(NamedTuple):
    """An operation with its documented rate and scopes; ``{}`` in its path stands for an id."""

    method: str
    path: str
    rate: Rate
    scopes: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


_LISTED: Final = ("lists:read", "profiles:read")
_LISTING: Final = ("lists:write", "profiles:write")

ACCOUNTS: Final = Endpoint("GET", "/api/accounts", Rate(1, 15), ("accounts:read",))
LIST: Final = Endpoint("GET", "/api/lists/{}", Rate(75, 700), ("lists:read",))
MEMBERS: Final = Endpoint("GET", "/api/lists/{}/relationships/profiles", Rate(75, 700), _LISTED)
REMOVE: Final = Endpoint("DELETE", "/api/lists/{}/relationships/profiles", Rate(10, 150), _LISTING)
PROFILES: Final = Endpoint("GET", "/api/profiles", Rate(75, 700), ("profiles:read",))
ADD: Final = Endpoint("POST", "/api/lists/{}/relationships/profiles", Rate(10, 150), _LISTING)
PROFILE: Final = Endpoint("POST", "/api/profile-import", Rate(75, 700), ("profiles:write",))
IMPORT: Final = Endpoint("POST", "/api/profile-bulk-import-jobs", Rate(10, 150), _LISTING)
JOBS: Final = Endpoint("GET", "/api/profile-bulk-import-jobs", Rate(10, 150), _LISTED)
JOB: Final = Endpoint("GET", "/api/profile-bulk-import-jobs/{}", Rate(10, 150), _LISTED)
ERRORS: Final = Endpoint(
    "GET", "/api/profile-bulk-import-jobs/{}/import-errors", Rate(10, 150), ("profiles:read",)
)
EVENT: Final = Endpoint("POST", "/api/events", Rate(350, 3_500), ("events:write",))
EVENTS: Final = Endpoint("POST", "/api/event-bulk-create-jobs", Rate(10, 150), ("events:write",))
ENDPOINTS: Final = (
    *(ACCOUNTS, LIST, MEMBERS, ADD, REMOVE, PROFILES, PROFILE),
    *(IMPORT, JOBS, JOB, ERRORS, EVENT, EVENTS),
)


class KlaviyoApi:
    """The API of one account. The key is in no error."""

    def __init__(self, client: HttpClient, url: str, key: str) -> None:
        self._client = client
        self._url = url
        self._headers = {
            "authorization": f"Klaviyo-API-Key {key}",
            "revision": REVISION,
            "accept": _TYPE,
            "content-type": _TYPE,
            "user-agent": "segops",
        }
        self._limiters: dict[Endpoint, RateLimiter] = {}
        self._paces: dict[Endpoint, Pace] = {}

    def spare(self, endpoint: Endpoint) -> int:
        """Return how many requests of an endpoint may be sent now without a wait."""
        return self._pace(endpoint).spare()

    def _pace(self, endpoint: Endpoint) -> Pace:
        now = asyncio.get_running_loop().time
        return self._paces.setdefault(endpoint, Pace(endpoint.rate, now))

    async def call(
        self,
        endpoint: Endpoint,
        of: str = "",
        *,
        query: Mapping[str, str] = {},
        body: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Return the answer to a request, whatever it is, within the rate of the endpoint, at an even pace.

        ``of``: the id in the path. Raises DestinationAway and DestinationRefuses as the client does, with the
        scopes that a call needs which the key may not make.
        """
        now = asyncio.get_running_loop().time
        limiter = self._limiters.setdefault(endpoint, RateLimiter(endpoint.rate, now))
        url = self._url + endpoint.path.format(quote(of, safe="")) + (f"?{urlencode(query)}" if query else "")
        content = None if body is None else msgspec.json.encode(body)
        await self._pace(endpoint).wait()
        async with limiter.slot():
            try:
                return await self._client.send(endpoint.method, url, headers=self._headers, body=content)
            except DestinationAway as error:
                limiter.close_for(error.retry_after_s)
                raise
            except DestinationRefuses as error:
                if error.status != _FORBIDDEN:
                    raise
                needed = f"{endpoint} needs {' and '.join(endpoint.scopes)} of the key"
                raise DestinationRefuses(f"{needed}: {error}", status=error.status) from None

    async def pages(self, endpoint: Endpoint, of: str, query: Mapping[str, str]) -> AsyncIterator[Any]:
        """Yield what all pages of an answer hold. Raises DestinationRefuses for any that is not accepted."""
        cursor: dict[str, str] = {}
        while True:
            answer = await self.call(endpoint, of, query={**query, **cursor})
            if not answer.is_accepted:
                # Without the server's words: they may repeat the addresses that were asked for.
                raise DestinationRefuses(f"{endpoint.path.format(of)}: status {answer.status}")
            document = document_of(answer)
            for each in document["data"]:
                yield each
            following = (document.get("links") or {}).get("next")
            if following is None:
                return
            if not (after := _cursor_in(following)):
                raise DestinationRefuses(
                    f"{endpoint.path.format(of)}: the link to the next page has no cursor"
                )
            cursor = {"page[cursor]": after}

    async def require_list(self, list_id: str) -> None:
        """Raise DestinationRefuses if a list does not exist."""
        answer = await self.call(LIST, list_id)
        if not answer.is_accepted:
            raise DestinationRefuses(f"the list {list_id} does not exist: {answer.detail}")

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


async def all_of(calls: Iterable[Coroutine[Any, Any, _T]]) -> list[_T]:
    """Return the results of calls that are made at the same time, in order. A failure ends the others."""
    tasks = [asyncio.ensure_future(each) for each in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def document_of(answer: Answer) -> dict[str, Any]:
    """Return the document of a successful answer. Raises DestinationAway for anything else that came."""
    try:
        found: dict[str, Any] = msgspec.json.decode(answer.body, type=dict[str, Any])
    except msgspec.DecodeError:
        raise DestinationAway(f"expected JSON, got {answer.detail}") from None
    return found


def _cursor_in(url: str) -> str:
    """Return the cursor of a link to the next page.

    >>> _cursor_in("https://a.klaviyo.com/api/profiles?page%5Bcursor%5D=abc&x=1")
    'abc'
    """
    return URL(url).query.get("page[cursor]", "")
