"""Who may call over HTTP: assistants with a token, and no page of a browser."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, Final

from segops.api.keys import KeySetting, key_pairs
from segops.config import McpSettings
from segops.core.errors import UserError
from segops.mcp.metrics import McpMetrics

_TOKENS: Final = "SEGOPS_MCP_TOKENS"
_LEAST: Final = 20
_CALLER: Final = "segops_caller"
_LOCAL: Final = "stdio"

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
#: An application by ASGI.
App = Callable[[_Scope, _Receive, _Send], Awaitable[None]]


def load_tokens(settings: McpSettings) -> Mapping[str, str]:
    """Return the assistants by token. Raises UserError, which never shows a token, also if there is none."""
    written = KeySetting(_TOKENS, settings.tokens, settings.tokens_file, "assistant", "token")
    found: dict[str, str] = {}
    for name, token in key_pairs(written):
        if len(token) < _LEAST:
            raise UserError(f"{_TOKENS}: {name}: expected a token of at least {_LEAST} characters")
        found[token] = name
    if not found:
        raise UserError(
            f"no tokens: set {_TOKENS} to assistant=token pairs; without --http no token is needed"
        )
    return found


def caller_of(request: Any) -> str:
    """Return the name of the assistant that made an HTTP request; None is a request on standard input."""
    return _LOCAL if request is None else str(request.scope.get(_CALLER, "unknown"))


class Guard:
    """Passes on the requests of assistants, and denies all others: 401 without a token, 403 to pages."""

    def __init__(self, app: App, tokens: Mapping[str, str], metrics: McpMetrics) -> None:
        self._app = app
        self._tokens = [(token.encode(), name) for token, name in tokens.items()]
        self._metrics = metrics

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Handle a connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope.get("headers", ())}
        caller = self._caller(headers.get(b"authorization", b""))
        if b"origin" in headers:
            await self._deny(send, "origin", 403, b"pages may not call\n")
        elif caller is None:
            await self._deny(send, "token", 401, b"missing or invalid bearer token (SEGOPS_MCP_TOKENS)\n")
        else:
            await self._app({**scope, _CALLER: caller}, receive, send)

    def _caller(self, authorization: bytes) -> str | None:
        """Return the assistant with the token. The time does not depend on how much of a token is right."""
        scheme, _, given = authorization.partition(b" ")
        token = given.strip(b" ") if scheme.lower() == b"bearer" else b""
        found = [name for known, name in self._tokens if hmac.compare_digest(token, known)]
        return found[0] if found else None

    async def _deny(self, send: _Send, reason: str, status: int, body: bytes) -> None:
        self._metrics.denied.labels(reason).inc()
        headers: Iterable[tuple[bytes, bytes]] = [
            (b"content-type", b"text/plain"),
            (b"content-length", str(len(body)).encode()),
            *([(b"www-authenticate", b"Bearer")] if status == 401 else []),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
