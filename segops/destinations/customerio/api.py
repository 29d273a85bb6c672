"""Customer.io's APIs as the adapter uses them: within their limits, each answer as a document.

Sources: Customer.io's OpenAPI documents of the Track API (basic authentication, 100 requests a second as fair
use) and of the App API (bearer authentication, 10 requests a second).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import urlencode

import msgspec

from segops.destinations.http import Answer, HttpClient
from segops.destinations.port import DestinationAway, DestinationRefuses
from segops.request_rates import Rate, RateLimiter

Api = Literal["track", "app"]
HOSTS: Final[Mapping[str, Mapping[Api, str]]] = {
    "us": {"track": "https://track.customer.io", "app": "https://api.customer.io"},
    "eu": {"track": "https://track-eu.customer.io", "app": "https://api-eu.customer.io"},
}
RATES: Final[Mapping[Api, Rate]] = {"track": Rate(100, 6_000), "app": Rate(10, 600)}


class Endpoint(NamedTuple):
    """An operation of one of the APIs: the method, and the path, in which ``{}`` stands for a segment."""

    api: Api
    method: str
    path: str


REGION: Final = Endpoint("track", "GET", "/api/v1/accounts/region")
BATCH: Final = Endpoint("track", "POST", "/api/v2/batch")
ADD: Final = Endpoint("track", "POST", "/api/v1/segments/{}/add_customers")
REMOVE: Final = Endpoint("track", "POST", "/api/v1/segments/{}/remove_customers")
SEGMENTS: Final = Endpoint("app", "GET", "/v1/segments")
MEMBERS: Final = Endpoint("app", "GET", "/v1/segments/{}/membership")
SEARCH: Final = Endpoint("app", "POST", "/v1/customers")


class CustomerIoApi:
    """The APIs of one workspace. ``credentials``: the header of each API that there is a key for."""

    def __init__(self, client: HttpClient, hosts: Mapping[Api, str], credentials: Mapping[Api, str]) -> None:
        self._client = client
        self._hosts = hosts
        self._credentials = credentials
        self._limiters: dict[Api, RateLimiter] = {}

    @property
    def reads(self) -> bool:
        """Whether segments and their people can be read."""
        return "app" in self._credentials

    def url_of(self, endpoint: Endpoint, of: int = 0, *, query: Mapping[str, str] = {}) -> str:
        """Return the address of an operation."""
        url = self._hosts[endpoint.api] + endpoint.path.format(of)
        return f"{url}?{urlencode(query)}" if query else url

    async def call(
        self,
        endpoint: Endpoint,
        of: int = 0,
        *,
        query: Mapping[str, str] = {},
        body: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Return the answer to a request, whatever it is, within the rate of the API.

        Raises DestinationAway and DestinationRefuses as the client does.
        """
        now = asyncio.get_running_loop().time
        limiter = self._limiters.setdefault(endpoint.api, RateLimiter(RATES[endpoint.api], now))
        headers = {
            "authorization": self._credentials[endpoint.api],
            "content-type": "application/json",
            "user-agent": "segops",
        }
        url = self.url_of(endpoint, of, query=query)
        content = None if body is None else msgspec.json.encode(body)
        async with limiter.slot():
            try:
                return await self._client.send(endpoint.method, url, headers=headers, body=content)
            except DestinationAway as error:
                limiter.close_for(error.retry_after_s)
                raise

    async def read(
        self,
        endpoint: Endpoint,
        of: int = 0,
        *,
        query: Mapping[str, str] = {},
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the document of a look-up. Raises DestinationRefuses if it is refused.

        The error has none of the server's words: they may repeat the addresses that were asked for.
        """
        answer = await self.call(endpoint, of, query=query, body=body)
        if not answer.is_accepted:
            raise DestinationRefuses(f"{endpoint.path.format(of)}: status {answer.status}")
        return document_of(answer)

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
