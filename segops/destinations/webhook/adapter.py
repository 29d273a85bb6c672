"""The adapter of webhooks: each message is a signed POST of its own."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import AfterValidator, Field
from yarl import URL

from segops.config import Settings
from segops.core.errors import UserError
from segops.core.values import format_instant
from segops.destinations.http import Answer, HttpClient
from segops.destinations.model import Form, Secret
from segops.destinations.port import (
    Accepted,
    Batch,
    DestinationRefuses,
    Finding,
    Message,
    Outcome,
    Person,
    Refused,
    Request,
)
from segops.destinations.webhook.resolving import (
    PrivateAddress,
    PublicResolver,
    check_public,
    literal_address,
)
from segops.destinations.webhook.signing import key_of, sign
from segops.metrics import Metrics
from segops.wall_clock import wall_ms

_GONE: Final = 410
_MAX_BYTES: Final = 1 << 20
_HEADER: Final = re.compile("[A-Za-z][A-Za-z0-9-]{0,63}")


def _url(text: str) -> str:
    found = URL(text)
    if found.scheme not in ("https", "http") or not found.host or found.user or found.fragment:
        raise ValueError("expected https://host/path, without credentials")
    return text


class WebhookForm(Form):
    """What is written of a webhook. ``secrets``: its signing secret, in a rotation also the former one."""

    kind: Literal["webhook"]
    url: Annotated[str, AfterValidator(_url)]
    secrets: list[Secret] = Field(min_length=1, max_length=5)
    timeout_s: float = Field(default=15.0, gt=0, le=60)


class Webhook:
    """The adapter of one webhook."""

    batch = Batch(1, _MAX_BYTES)

    def __init__(self, form: WebhookForm, keys: Sequence[bytes], client: HttpClient) -> None:
        self._form = form
        self._keys = keys
        self._client = client

    def address_of(self, person: Person) -> str | None:
        """Return the id of the profile."""
        return person.profile_id

    async def send(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Sequence[Outcome]:
        """Send each message. 410 Gone stops the delivery until the destination is changed."""
        return [await self._send(each, options) for each in messages]

    async def _send(self, message: Message, options: Mapping[str, Any]) -> Outcome:
        body = msgspec.json.encode(body_of(message, options))
        answer = await self._post(message.change_id, body)
        if answer.status == _GONE:
            raise DestinationRefuses(f"{self._form.url}: gone (410)")
        return Accepted() if answer.is_accepted else Refused(answer.detail)

    async def _post(self, message_id: str, body: bytes) -> Answer:
        timestamp_s = wall_ms() // 1000
        headers = {
            "content-type": "application/json",
            "user-agent": "segops",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp_s),
            "webhook-signature": sign(self._keys, message_id, timestamp_s, body),
        }
        return await self._client.send("POST", self._form.url, headers=headers, body=body)

    def preview(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Sequence[Request]:
        """Return a request per message."""
        return [Request("POST", self._form.url, body_of(each, options)) for each in messages]

    async def check(self, options: Mapping[str, Any]) -> Sequence[Finding]:
        """Send a signed message of the type ``segops.check``, which tells nothing of anyone."""
        now_ms = wall_ms()
        body = msgspec.json.encode({"type": "segops.check", "timestamp": format_instant(now_ms), "data": {}})
        try:
            answer = await self._post(f"check_{now_ms}", body)
        except Exception as error:
            return [Finding(False, f"{self._form.url}: {error}")]
        return [Finding(answer.is_accepted, f"{self._form.url}: {answer.detail}")]

    def members(self, options: Mapping[str, Any]) -> AsyncIterator[str] | None:
        """Return None: a webhook has no list that can be read."""
        return None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def open_webhook(form: WebhookForm, settings: Settings, metrics: Metrics) -> Webhook:
    """Open a webhook. Raises UserError for a secret that is missing or invalid, and for a private address."""
    allowed = settings.activate.webhook_allow
    url = URL(form.url)
    host = url.host or ""
    if url.scheme != "https" and host not in allowed:
        raise UserError(
            f"{form.name}: expected an https url, got {form.url!r}; SEGOPS_WEBHOOK_ALLOW exempts hosts"
        )
    address = literal_address(host)
    if address is not None and host not in allowed:
        try:
            check_public(host, address)
        except PrivateAddress as error:
            raise UserError(f"{form.name}: {error}") from None
    keys = [key_of(each.read()) for each in form.secrets]
    client = HttpClient(form.name, metrics, timeout_s=form.timeout_s, resolver=PublicResolver(allowed))
    return Webhook(form, keys, client)


def body_of(message: Message, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the payload of a message; ``options`` of the audience's delivery are sent along."""
    person = message.person
    data = {
        "audience": message.audience,
        "profile_id": person.profile_id,
        "user_id": person.user_id,
        "anonymous_id": person.anonymous_id,
        "email": person.email,
        "since": _instant(message.since_ms),
        "until": _instant(message.until_ms),
        "reason": message.reason,
        "quiet": message.quiet,
        "sequence": message.sequence,
        "properties": dict(message.properties),
        "options": dict(options),
    }
    kind = f"segops.audience.{message.action}"
    return {"type": kind, "timestamp": format_instant(message.occurred_ms), "data": data}


def _instant(at_ms: int | None) -> str | None:
    return None if at_ms is None else format_instant(at_ms)
