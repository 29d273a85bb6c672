"""Why the collector does not accept a request.

SDKs drop their events at a status below 500 other than 408 and 429, and retry at all others.
"""

from __future__ import annotations

from segops.api.refusals import RequestRefused


def busy(message: str, *, close: bool = False) -> RequestRefused:
    """Return the refusal of a request that this process has no memory for at present."""
    return RequestRefused(429, "busy", message, retry_after_s=1, close=close)


def unavailable(message: str) -> RequestRefused:
    """Return the refusal of a request whose events Kafka does not acknowledge at present."""
    return RequestRefused(503, "kafka_unavailable", message, retry_after_s=2)
