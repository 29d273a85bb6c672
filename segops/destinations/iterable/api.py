"""Iterable's API as the adapter uses it: within its limits, each answer as a document.

Sources: Iterable's API reference (paths, rates "per project" and "per API key") and its own client
``Iterable/api-client`` (header ``Api-Key``, answers). Unverified against the service: the rates of
``lists/subscribe`` and ``lists/unsubscribe``, for which that of ``users/bulkUpdate`` is taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import msgspec

from segops.destinations.http import Answer, HttpClient
from segops.destinations.port import DestinationAway
from segops.request_rates import Rate, RateLimiter

HOSTS: Final = {"us": "https://api.iterable.com", "eu": "https://api.eu.iterable.com"}


class Endpoint(NamedTuple):
    """An operation: the method, the path, and the documented rate."""

    method: str
    path: str
    rate: Rate


LISTS: Final = Endpoint("GET", "/api/lists", Rate(100, 6_000))
USERS: Final = Endpoint("GET", "/api/lists/getUsers", Rate(5, 5))
SUBSCRIBE: Final = Endpoint("POST", "/api/lists/subscribe", Rate(5, 300))
UNSUBSCRIBE: Final = Endpoint("POST", "/api/lists/unsubscribe", Rate(5, 300))
UPDATE: Final = Endpoint("POST", "/api/users/bulkUpdate", Rate(5, 300))
EVENTS: Final = Endpoint("POST", "/api/events/trackBulk", Rate(10, 600))
ENDPOINTS: Final = (LISTS, USERS, SUBSCRIBE, UNSUBSCRIBE, UPDATE, EVENTS)


class IterableApi:
    """The API of one project. The key is in no error."""

    def __init__(self, client: HttpClient, url: str, key: str) -> None:
        self._client = client
        self._url = url
        self._headers = {"api-key": key, "content-type": "application/json", "user-agent": "segops"}
        self._limiters: dict[Endpoint, RateLimiter] = {}

    async def call(
        self, endpoint: Endpoint, *, query: Mapping[str, str] = {}, body: Mapping[str, Any] | None = None
    ) -> Answer:
        """Return the answer to a request, whatever it is, within the rate of the endpoint.

        Raises DestinationAway and DestinationRefuses as the client does.
        """
        now = asyncio.get_running_loop().time
        limiter = self._limiters.setdefault(endpoint, RateLimiter(endpoint.rate, now))
        url = self._url + endpoint.path + (f"?{urlencode(query)}" if query else "")
        content = None if body is None else msgspec.json.encode(body)
        async with limiter.slot():
            try:
                return await self._client.send(endpoint.method, url, headers=self._headers, body=content)
            except DestinationAway as error:
                limiter.close_for(error.retry_after_s)
                raise

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def document_of(answer: Answer) -> dict[str, Any]:
    """Return the document of a successful answer. Raises DestinationAway for anything else that came."""
    try:
        found: dict[str, Any] = msgspec.json.decode(answer.body, type=dict[str, Any])
    except msgspec.DecodeError:
        raise DestinationAway(f"expected JSON, got status {answer.status}") from None
    return found
