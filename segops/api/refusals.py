"""Why a request is refused: a status, a code for programs and a message for people."""

from __future__ import annotations

from typing import Final

import msgspec

from segops.api.health import Page
from segops.core.errors import SegopsError

_JSON: Final = "application/json"


class RequestRefused(SegopsError):
    """A request that is not accepted; ``retry_after_s`` when the same one may succeed later."""

    def __init__(
        self, status: int, code: str, message: str, *, retry_after_s: int | None = None, close: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s
        #: Whether the connection must end, because the body was not read.
        self.close = close


def refused_page(refused: RequestRefused) -> Page:
    """Return the response to a request that is not accepted; Segment's SDKs for Python read both fields."""
    headers = {} if refused.retry_after_s is None else {"Retry-After": str(refused.retry_after_s)}
    body = msgspec.json.encode({"code": refused.code, "message": refused.message})
    return Page(refused.status, body, _JSON, headers)
