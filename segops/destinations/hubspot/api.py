"""HubSpot's API as the adapter uses it: within its limits, each answer as a document.

Sources: HubSpot's OpenAPI documents of version 2026-03 (lists, contacts, account information), and its pages
"API usage guidelines" (limits, their headers, ``policyName``), "Error handling" (423, 477), "Private apps".
Unverified against the service: ``Retry-After`` of 429.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

import msgspec

from segops.destinations.http import Answer, HttpClient, retry_after_s
from segops.destinations.port import DestinationAway
from segops.request_rates import Rate, RateLimiter
from segops.wall_clock import wall_ms

_CONTACTS: Final = "/crm/objects/2026-03/contacts/batch/"
_LISTS: Final = "/crm/lists/2026-03/{}"
#: The daily limit ends at midnight where the account is; each attempt until then counts as one more error.
_DAILY: Final = re.compile(r"DAILY|daily limit")
_DAILY_PAUSE_S: Final = 900.0
#: Further answers to come back after: a lock, of two seconds, and a move of the account.
_AWAY_S: Final = {423: 2.0, 477: 0.0}


class Endpoint(NamedTuple):
    """An operation: the method, and the path, in which ``{}`` stands for an id."""

    method: str
    path: str


ACCOUNT: Final = Endpoint("GET", "/account-info/2026-03/details")
TOKEN: Final = Endpoint("POST", "/oauth/v2/private-apps/get/access-token-info")
LIST: Final = Endpoint("GET", _LISTS)
MEMBERS: Final = Endpoint("GET", f"{_LISTS}/memberships")
CHANGE: Final = Endpoint("PUT", f"{_LISTS}/memberships/add-and-remove")
READ: Final = Endpoint("POST", f"{_CONTACTS}read")
UPDATE: Final = Endpoint("POST", f"{_CONTACTS}update")
UPSERT: Final = Endpoint("POST", f"{_CONTACTS}upsert")
ENDPOINTS: Final = (ACCOUNT, TOKEN, LIST, MEMBERS, CHANGE, READ, UPDATE, UPSERT)


class HubSpotApi:
    """The API of one private app. The token is in no error.

    ``per_10_s``: the requests that the app may make in ten seconds. A tenth of them is made in each second,
    so that no ten seconds have more.
    """

    def __init__(self, client: HttpClient, url: str, token: str, *, per_10_s: int) -> None:
        self._client = client
        self._url = url
        self._token = token
        self._headers = {
            "authorization": f"Bearer {token}",
            "content-type": "application/json",
            "user-agent": "segops",
        }
        self._rate = Rate(per_10_s // 10, per_10_s * 6)
        self._limiter: RateLimiter | None = None

    async def call(
        self,
        endpoint: Endpoint,
        of: str = "",
        *,
        query: Mapping[str, str] = {},
        body: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Return the answer to a request, whatever it is, within the rate of the app.

        ``of``: the id in the path. Raises DestinationAway and DestinationRefuses as the client does.
        """
        if self._limiter is None:
            self._limiter = RateLimiter(self._rate, asyncio.get_running_loop().time)
        limiter = self._limiter
        url = self._url + endpoint.path.format(quote(of, safe="")) + (f"?{urlencode(query)}" if query else "")
        content = None if body is None else msgspec.json.encode(body)
        async with limiter.slot():
            try:
                answer = await self._client.send(endpoint.method, url, headers=self._headers, body=content)
            except DestinationAway as error:
                if _DAILY.search(str(error)):
                    raise DestinationAway(str(error), retry_after_s=_DAILY_PAUSE_S) from None
                limiter.close_for(error.retry_after_s)
                raise
            _note_remaining(limiter, answer.headers)
        if answer.status in _AWAY_S:
            asked_s = retry_after_s(answer.headers, now_s=wall_ms() / 1000)
            raise DestinationAway(answer.detail, retry_after_s=max(_AWAY_S[answer.status], asked_s))
        return answer

    async def scopes(self) -> Answer:
        """Return what the app may do, as HubSpot answers."""
        return await self.call(TOKEN, body={"tokenKey": self._token})

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def _note_remaining(limiter: RateLimiter, headers: Mapping[str, str]) -> None:
    """Note what is left of a window: other processes may use the same app."""
    remaining = headers.get("X-HubSpot-RateLimit-Remaining", "")
    interval_ms = headers.get("X-HubSpot-RateLimit-Interval-Milliseconds", "")
    if remaining.isdecimal() and interval_ms.isdecimal():
        limiter.note_remaining(int(remaining), int(interval_ms) / 1000)


def document_of(answer: Answer) -> dict[str, Any]:
    """Return the document of a successful answer. Raises DestinationAway for anything else that came."""
    try:
        found: dict[str, Any] = msgspec.json.decode(answer.body, type=dict[str, Any])
    except msgspec.DecodeError:
        raise DestinationAway(f"expected JSON, got status {answer.status}") from None
    return found
