"""One request to the service of a model: bounded in time and size, without redirects, never repeated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout

from segops.core.errors import SegopsError
from segops.core.text import printable

#: The most bytes of a response.
MAX_BYTES: Final = 512 * 1024
_MAX_DETAIL: Final = 200


class ModelAway(SegopsError):
    """The service gave no answer that can be read. ``used``: it may have counted the request's tokens."""

    def __init__(self, reason: str, *, used: bool) -> None:
        super().__init__(reason)
        self.used = used


async def post(url: str, headers: Mapping[str, str], body: Mapping[str, Any], *, timeout_s: float) -> Any:
    """Return the JSON of the response to a request.

    Raises ModelAway for another status than 200, a response that is cut, too long or no JSON, and when it
    takes too long. Messages have nothing of the request or the response.
    """
    timeout = ClientTimeout(total=timeout_s)
    try:
        async with (
            ClientSession(timeout=timeout, trust_env=False) as session,
            session.post(
                url,
                data=msgspec.json.encode(body),
                headers={"Content-Type": "application/json", "Accept-Encoding": "identity", **headers},
                allow_redirects=False,
            ) as response,
        ):
            status, data = response.status, await _read(response.content)
    except TimeoutError:
        raise ModelAway(f"no answer within {timeout_s:g} s", used=True) from None
    except (ClientError, OSError) as error:
        raise ModelAway(f"{type(error).__name__}", used=True) from None
    if status != 200:
        raise ModelAway(f"status {status}", used=False)
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ModelAway("expected JSON", used=True) from None


async def _read(content: Any) -> bytes:
    data = bytearray()
    async for chunk in content.iter_any():
        data += chunk
        if len(data) > MAX_BYTES:
            raise ModelAway(f"more than {MAX_BYTES:,} bytes", used=True)
    return bytes(data)


def without(text: str, secrets: Sequence[str]) -> str:
    r"""Return a text in which secrets are replaced; some servers escape slashes in JSON.

    >>> without('{"got": "Bearer a/b"}', ["a/b"]), without(r"a\/b", ["a/b"])
    ('{"got": "Bearer [secret]"}', '[secret]')
    """
    for secret in secrets:
        for form in (secret, secret.replace("/", r"\/")):
            text = text.replace(form, "[secret]")
    return text


def shown(text: str, most: int = _MAX_DETAIL) -> str:
    """Return the beginning of a foreign text in one line, as people may see it.

    >>> shown("a" * 300, 5), shown(" Which  day? ")
    ('aaaaa…', 'Which day?')
    """
    text = " ".join(text.split())
    return printable(text[:most]) + ("…" if len(text) > most else "")
