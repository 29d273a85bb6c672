"""The adapter of Segment-compatible servers: batches of identify and track calls."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import AfterValidator, Field
from yarl import URL

from segops.config import Settings
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
from segops.destinations.segment.calls import address_of, calls_of
from segops.metrics import Metrics

#: Segment takes 500 KB a request and 32 KB a call; a message makes two calls, with some bytes around them.
_MAX_MESSAGES: Final = 100
_MAX_BYTES: Final = 150_000
_MAX_CALL_BYTES: Final = 32 << 10
_TOO_LARGE: Final = 413
_INVALID: Final = 400


def _url(text: str) -> str:
    found = URL(text)
    local = found.host in ("127.0.0.1", "::1", "localhost")
    if not found.host or found.user or found.query_string or not (found.scheme == "https" or local):
        raise ValueError("expected https://host, without credentials, or http on loopback")
    return text.rstrip("/")


class SegmentForm(Form):
    """What is written of a Segment-compatible server. ``space`` names the space of the audiences."""

    kind: Literal["segment"]
    write_key: Secret
    url: Annotated[str, AfterValidator(_url)] = "https://api.segment.io"
    space: str = Field(default="segops", min_length=1, max_length=64)
    timeout_s: float = Field(default=15.0, gt=0, le=60)


class SegmentServer:
    """The adapter of one write key."""

    batch = Batch(_MAX_MESSAGES, _MAX_BYTES)

    def __init__(self, form: SegmentForm, credentials: str, client: HttpClient) -> None:
        self._headers = {
            "authorization": f"Basic {credentials}",
            "content-type": "application/json",
            "user-agent": "segops",
        }
        self._form = form
        self._client = client

    def address_of(self, person: Person) -> str | None:
        """Return the user id, else the anonymous id."""
        return address_of(person)

    async def send(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Sequence[Outcome]:
        """Send all calls in one request; if the server refuses it, each message by itself."""
        answer = await self._post([call for each in messages for call in self._calls(each)])
        if answer.is_accepted:
            return [Accepted()] * len(messages)
        if len(messages) == 1:
            return [Refused(answer.detail)]
        return [(await self.send([each], options))[0] for each in messages]

    def _calls(self, message: Message) -> list[dict[str, Any]]:
        return [*calls_of(message, space=self._form.space)]

    async def _post(self, calls: Sequence[Mapping[str, Any]]) -> Answer:
        if any(len(msgspec.json.encode(call)) > _MAX_CALL_BYTES for call in calls):
            return Answer(_TOO_LARGE, {}, f"a call has more than {_MAX_CALL_BYTES} bytes".encode())
        body = msgspec.json.encode({"batch": calls})
        return await self._client.send("POST", f"{self._form.url}/v1/batch", headers=self._headers, body=body)

    def preview(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Sequence[Request]:
        """Return the one request."""
        calls = [call for each in messages for call in self._calls(each)]
        return [Request("POST", f"{self._form.url}/v1/batch", {"batch": calls})]

    async def check(self, options: Mapping[str, Any]) -> Sequence[Finding]:
        """Send an empty batch, which tells nothing of anyone."""
        try:
            answer = await self._post([])
        except (DestinationAway, DestinationRefuses) as error:
            return [Finding(False, f"{self._form.url}: {error}")]
        # Servers answer an empty batch with 200 or 400; a wrong key is 401 at those that look at it.
        return [
            Finding(answer.is_accepted or answer.status == _INVALID, f"{self._form.url}: {answer.detail}")
        ]

    def members(self, options: Mapping[str, Any]) -> AsyncIterator[str] | None:
        """Return None: the calls have no list that can be read."""
        return None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def open_segment(form: SegmentForm, _settings: Settings, metrics: Metrics) -> SegmentServer:
    """Open a Segment-compatible server. Raises UserError for a missing write key."""
    key = form.write_key.read()
    credentials = base64.b64encode(f"{key}:".encode()).decode()
    client = HttpClient(form.name, metrics, timeout_s=form.timeout_s, secrets=[credentials, key])
    return SegmentServer(form, credentials, client)
