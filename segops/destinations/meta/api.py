"""Meta's Graph API as the adapter uses it: within its limits, each answer as a document.

Sources: Meta's documentation, "Custom Audience Users" (paths), "Rate Limits" (5,000 calls an hour about
Custom Audiences with the lowest access, and more with each audience) and "Secure Graph API Calls"
(``appsecret_proof``); Segment's integration (JSON bodies, and the token as a header).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from segops.destinations.http import HttpClient
from segops.destinations.meta.failures import raise_failure
from segops.destinations.port import DestinationAway
from segops.request_rates import Rate, RateLimiter

RATE: Final = Rate(10, 80)


class GraphApi:
    """The API with one token. Neither it nor the secret of the app is in an error."""

    def __init__(self, client: HttpClient, root: str, token: str, app_secret: str | None) -> None:
        self._client = client
        self._root = root
        self._headers = {
            "authorization": f"Bearer {token}",
            "content-type": "application/json",
            "user-agent": "segops",
        }
        self._proof = {} if app_secret is None else {"appsecret_proof": proof_of(token, app_secret)}
        self._limiter: RateLimiter | None = None

    async def call(
        self, method: str, path: str, *, query: Mapping[str, str] = {}, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the document of a successful answer.

        Raises DestinationAway and DestinationRefuses for all others.
        """
        if self._limiter is None:
            self._limiter = RateLimiter(RATE, asyncio.get_running_loop().time)
        encoded = urlencode({**query, **self._proof})
        url = f"{self._root}/{path}" + (f"?{encoded}" if encoded else "")
        content = None if body is None else msgspec.json.encode(body)
        async with self._limiter.slot():
            try:
                answer = await self._client.send(method, url, headers=self._headers, body=content)
                if not answer.is_accepted:
                    raise_failure(answer)
            except DestinationAway as error:
                self._limiter.close_for(error.retry_after_s)
                raise
        try:
            return msgspec.json.decode(answer.body, type=dict[str, Any])
        except msgspec.DecodeError:
            raise DestinationAway(f"expected JSON, got status {answer.status}") from None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def proof_of(token: str, app_secret: str) -> str:
    """Return the proof that a call is made by the app.

    >>> proof_of("token", "secret")[:16]
    'e941110e3d2bfe82'
    """
    return hmac.new(app_secret.encode(), token.encode(), hashlib.sha256).hexdigest()
