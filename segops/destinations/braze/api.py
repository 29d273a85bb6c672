"""Braze's API as the adapter uses it: one endpoint, within its limit.

Sources: Braze's documentation, "Track users" (bearer key, 3,000 requests in three seconds) and "API errors"
(404 for an unknown key). Contracts by monthly active users have lower limits of their own: Braze then answers
429, with ``X-RateLimit-Reset``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from segops.destinations.http import Answer, HttpClient
from segops.destinations.port import DestinationAway, DestinationRefuses
from segops.request_rates import Rate, RateLimiter

TRACK: Final = "/users/track"
RATE: Final = Rate(1_000, 60_000)
_UNKNOWN: Final = 404


class BrazeApi:
    """The API of one workspace. The key is in no error."""

    def __init__(self, client: HttpClient, url: str, key: str) -> None:
        self._client = client
        self._url = url
        self._headers = {
            "authorization": f"Bearer {key}",
            "content-type": "application/json",
            "user-agent": "segops",
        }
        self._limiter: RateLimiter | None = None

    async def track(self, body: Mapping[str, Any]) -> Answer:
        """Return the answer to objects of users, within the rate.

        Raises DestinationAway and DestinationRefuses as the client does, and DestinationRefuses for 404.
        """
        if self._limiter is None:
            self._limiter = RateLimiter(RATE, asyncio.get_running_loop().time)
        url, content = self._url + TRACK, msgspec.json.encode(body)
        async with self._limiter.slot():
            try:
                answer = await self._client.send("POST", url, headers=self._headers, body=content)
            except DestinationAway as error:
                self._limiter.close_for(error.retry_after_s)
                raise
        if answer.is_accepted and not fields_of(answer):
            raise DestinationAway(f"expected JSON, got status {answer.status}")
        if answer.status == _UNKNOWN:
            raise DestinationRefuses(f"unknown key, or not a REST endpoint of Braze: {answer.detail}")
        return answer

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def fields_of(answer: Answer) -> dict[str, Any]:
    """Return the fields of an answer; none if it is no JSON object."""
    try:
        found: dict[str, Any] = msgspec.json.decode(answer.body, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}
    return found
