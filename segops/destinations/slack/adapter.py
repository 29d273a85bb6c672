"""The adapter of incoming webhooks of Slack, and of chats that take them: a digest per batch, for people."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
from pydantic import Field

from segops.config import Settings
from segops.core.errors import UserError
from segops.destinations.http import Answer, HttpClient
from segops.destinations.model import Form, Secret
from segops.destinations.port import (
    Accepted,
    Batch,
    DestinationAway,
    DestinationRefuses,
    Finding,
    Message,
    Outcome,
    Person,
    Refused,
    Request,
)
from segops.destinations.slack.digest import Namer, digest_of, is_told, namer_of
from segops.metrics import Metrics
from segops.request_rates import Rate, RateLimiter

#: A digest has a few lines, whatever it counts: large batches make few messages.
_MAX_MESSAGES: Final = 10_000
_MAX_BYTES: Final = 16 << 20
_URL: Final = re.compile(
    r"(?P<host>https://[A-Za-z0-9.-]{1,253}(:\d{1,5})?|http://(127\.0\.0\.1|localhost)(:\d{1,5})?)"
    r"/(?P<path>[!\"$-~]{1,2000})"
)
#: Errors that are about the text; all others say that the webhook or its channel takes nothing.
_OF_TEXT: Final = (
    "invalid_payload",
    "no_text",
    "too_many_attachments",
    "web.incoming_webhook.text.app_error",
)
#: Parts of the path that are as good as the whole are at least as long as this.
_SECRET_PART: Final = 12


class SlackForm(Form):
    """What is written of a channel. ``per_minute``: digests at most; more people then stand in each."""

    kind: Literal["slack"]
    url: Secret
    per_minute: int = Field(default=10, ge=1, le=60)
    timeout_s: float = Field(default=15.0, gt=0, le=60)


class Slack:
    """The adapter of one webhook. ``options``: ``show`` asks for the names of a few."""

    batch = Batch(_MAX_MESSAGES, _MAX_BYTES)

    def __init__(self, client: HttpClient, url: str, rate: Rate) -> None:
        self._client = client
        self._url = url
        self._rate = rate
        self._limiter: RateLimiter | None = None

    def address_of(self, person: Person) -> str | None:
        """Return the id of the profile."""
        return person.profile_id

    async def send(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Sequence[Outcome]:
        """Post one digest, unless all messages are quiet or updates."""
        found: list[Outcome] = [Accepted()] * len(messages)
        text = digest_of(messages, _namer(options))
        if not text:
            return found
        answer = await self._post(text)
        if answer.is_accepted:
            return found
        if not _is_of_text(answer):
            raise DestinationRefuses(answer.detail)
        return [Refused(answer.detail) if is_told(each) else Accepted() for each in messages]

    async def _post(self, text: str) -> Answer:
        if self._limiter is None:
            self._limiter = RateLimiter(self._rate, asyncio.get_running_loop().time)
        headers = {"content-type": "application/json", "user-agent": "segops"}
        async with self._limiter.slot():
            try:
                return await self._client.send("POST", self._url, headers=headers, body=_body(text))
            except DestinationAway as error:
                self._limiter.close_for(error.retry_after_s)
                raise

    def preview(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Sequence[Request]:
        """Return the digest; of the URL, which is secret, the host alone."""
        text = digest_of(messages, _namer(options))
        return [Request("POST", f"{_host(self._url)}/[secret]", {"text": text})] if text else []

    async def check(self, options: Mapping[str, Any]) -> Sequence[Finding]:
        """Post a message without text, which a webhook that works refuses for the lack of it."""
        host = _host(self._url)
        try:
            _namer(options)
            answer = await self._post("")
        except (DestinationAway, DestinationRefuses) as error:
            return [Finding(False, f"{host}: {error}")]
        ok = answer.is_accepted or _is_of_text(answer)
        return [Finding(ok, f"{host}: {'found' if ok else answer.detail}")]

    def members(self, options: Mapping[str, Any]) -> AsyncIterator[str] | None:
        """Return None: a channel is no list."""
        return None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def open_slack(form: SlackForm, _settings: Settings, metrics: Metrics) -> Slack:
    """Open a webhook. Raises UserError for a missing or invalid URL, which it does not show."""
    url = form.url.read()
    found = _URL.fullmatch(url)
    if found is None:
        raise UserError(
            f"{form.name}: expected https://host/path in the secret of url, or http:// on loopback"
        )
    path = found["path"]
    parts = [each for each in path.split("/") if len(each) >= _SECRET_PART]
    client = HttpClient(form.name, metrics, timeout_s=form.timeout_s, secrets=[path, *parts])
    return Slack(client, url, Rate(1, form.per_minute))


def _namer(options: Mapping[str, Any]) -> Namer | None:
    try:
        return namer_of(options.get("show"))
    except ValueError as error:
        raise DestinationRefuses(f"show: {error}") from None


def _body(text: str) -> bytes:
    return msgspec.json.encode({"text": text})


def _host(url: str) -> str:
    """Return a URL without its path.

    >>> _host("https://hooks.slack.com/services/T0/B0/x")
    'https://hooks.slack.com'
    """
    return "/".join(url.split("/", 3)[:3])


def _is_of_text(answer: Answer) -> bool:
    body = answer.body.decode(errors="replace")
    return answer.status < 500 and any(each in body for each in _OF_TEXT)
