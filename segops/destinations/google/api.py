"""The Data Manager API as the adapter uses it: within its limits, with tokens of a service account.

Source: Google's documentation of the Data Manager API, "Limits and quotas" (300 requests a minute that write,
and 100,000 a day, for each project of Google Cloud).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from segops.destinations.google.tokens import Tokens
from segops.destinations.http import Answer, HttpClient
from segops.destinations.port import DestinationAway, DestinationRefuses
from segops.request_rates import Rate, RateLimiter

RATE: Final = Rate(20, 300)

Verb = Literal["ingest", "remove"]


def url_of(server: str, verb: Verb) -> str:
    """Return the address of a method of audience members."""
    return f"{server}/v1/audienceMembers:{verb}"


class DataManagerApi:
    """The API with one account."""

    def __init__(self, client: HttpClient, server: str, tokens: Tokens) -> None:
        self._client = client
        self._server = server
        self._tokens = tokens
        self._limiter: RateLimiter | None = None

    async def authorise(self) -> None:
        """Obtain a token. Raises DestinationRefuses if the account gets none."""
        await self._tokens.get()

    async def call(self, verb: Verb, body: Mapping[str, Any]) -> Answer:
        """Return the answer to a request, whatever it is.

        Raises DestinationAway and DestinationRefuses as the client does.
        """
        if self._limiter is None:
            self._limiter = RateLimiter(RATE, asyncio.get_running_loop().time)
        content = msgspec.json.encode(body)
        async with self._limiter.slot():
            token = await self._tokens.get()
            headers = {
                "authorization": f"Bearer {token}",
                "content-type": "application/json",
                "user-agent": "segops",
            }
            try:
                return await self._client.send(
                    "POST", url_of(self._server, verb), headers=headers, body=content
                )
            except DestinationAway as error:
                self._limiter.close_for(error.retry_after_s)
                raise
            except DestinationRefuses:
                self._tokens.forget()
                raise

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
