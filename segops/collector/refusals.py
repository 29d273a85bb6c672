"""Why a request is not accepted: a status, a code for programs and a message for people."""

from __future__ import annotations

from segops.core.errors import SegopsError


class RequestRefused(SegopsError):
    """A request that the collector does not accept; ``retry_after_s`` when the same one may succeed later.

    SDKs drop their events at a status below 500 other than 408 and 429, and retry at all others.
    """

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


def busy(message: str, *, close: bool = False) -> RequestRefused:
    """Return the refusal of a request that this process has no memory for at present."""
    return RequestRefused(429, "busy", message, retry_after_s=1, close=close)


def unavailable(message: str) -> RequestRefused:
    """Return the refusal of a request whose events Kafka does not acknowledge at present."""
    return RequestRefused(503, "kafka_unavailable", message, retry_after_s=2)
