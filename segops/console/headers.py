"""What every answer says to browsers: what pages may load, and who may hold them in a frame or a cache."""

from __future__ import annotations

from typing import Final

from aiohttp.web import BaseRequest, StreamResponse

_POLICY: Final = (
    "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'"
)
_ALWAYS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=()",
    "Server": "segops",
}
_HTTPS: Final = "max-age=31536000"


def protect(response: StreamResponse, *, https: bool) -> None:
    """Add the headers that every answer has. What no route declared as cacheable is not stored anywhere."""
    response.headers.update(_ALWAYS)
    if https:
        response.headers["Strict-Transport-Security"] = _HTTPS
    response.headers.setdefault("Cache-Control", "no-store")


def accepts_gzip(request: BaseRequest) -> bool:
    """Return whether a client takes gzip."""
    coding = request.headers.get("Accept-Encoding", "").lower().replace(" ", "")
    return any(each.partition(";")[0] == "gzip" and not each.endswith(";q=0") for each in coding.split(","))
