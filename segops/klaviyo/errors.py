"""What can go wrong between Klaviyo and segops.

::

    UserError
    └── KeyRefused          the key, or its scopes
    SegopsError
    ├── KlaviyoError        Klaviyo answers something that repeating cannot change
    │   └── CursorExpired   reading begins again at the last position
    └── Unavailable         Klaviyo is too busy, broken or out of reach: ask again
"""

from __future__ import annotations

from segops.core.errors import SegopsError, UserError


class KeyRefused(UserError):
    """Klaviyo does not accept the key, or the key lacks a scope."""


class KlaviyoError(SegopsError):
    """Klaviyo refuses a request, or answers in an unknown form."""


class CursorExpired(KlaviyoError):
    """Klaviyo no longer accepts the cursor of a next page."""


class Unavailable(SegopsError):
    """A request failed for now. ``retry_after_s`` is what the server asks for, or 0."""

    def __init__(self, message: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
