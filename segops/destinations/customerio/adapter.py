"""The adapter of Customer.io: attributes of people, events, and manual segments, by the Track API."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec
from pydantic import Field

from segops.config import Settings
from segops.destinations.customerio import bodies
from segops.destinations.http import Answer, HttpClient
from segops.destinations.model import ApiUrl, Form, Secret
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
from segops.metrics import Metrics
from segops.request_rates import Rate, RateLimiter

HOSTS: Final = {"us": "https://track.customer.io", "eu": "https://track-eu.customer.io"}
BATCH: Final = "/api/v2/batch"
REGION: Final = "/api/v1/accounts/region"
#: A request has at most 500 KB; a message makes one operation or two. A segment takes 1,000 people at once.
_MAX_MESSAGES: Final = 400
_MAX_BYTES: Final = 150_000
#: Recommended: 100 requests a second.
RATE: Final = Rate(100, 6_000)
_LONGEST_NAME: Final = 100
_FIELDS: Final = {"id": "id", "email": "email"}


class CustomerIoForm(Form):
    """What is written of a Customer.io workspace. ``url``: a server other than that of the region."""

    kind: Literal["customerio"]
    site_id: Secret
    key: Secret
    region: Literal["us", "eu"] = "us"
    url: ApiUrl | None = None
    identify_by: Literal["id", "email"] = "email"
    timeout_s: float = Field(default=15.0, gt=0, le=60)


class _Options(NamedTuple):
    segment: int | None
    event: str | None


class _Error(msgspec.Struct):
    """An error about one operation of a batch, by its place."""

    batch_index: int | None = None
    reason: str = ""
    field: str = ""
    message: str = ""

    @property
    def text(self) -> str:
        return " ".join(each for each in (self.reason, self.field, self.message) if each)


class _Errors(msgspec.Struct):
    errors: list[_Error] = []


class CustomerIo:
    """The adapter of one workspace. ``options``: ``segment``, the number of a manual one, and ``event``."""

    batch = Batch(_MAX_MESSAGES, _MAX_BYTES)

    def __init__(self, form: CustomerIoForm, client: HttpClient, credentials: str) -> None:
        self._client = client
        self._url = form.url or HOSTS[form.region]
        self._field = form.identify_by
        self._headers = {
            "authorization": f"Basic {credentials}",
            "content-type": "application/json",
            "user-agent": "segops",
        }
        self._limiter: RateLimiter | None = None

    def address_of(self, person: Person) -> str | None:
        """Return the e-mail address, without spaces around it and in lower case; or the user id."""
        if self._field == "id":
            return (person.user_id or "").strip() or None
        return None if person.email is None else person.email.strip().lower() or None

    async def send(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Sequence[Outcome]:
        """Write attributes and events, then move those who were taken into the segment, or out of it."""
        chosen = _options(options)
        refused = await self._write(messages, chosen.event)
        if chosen.segment is not None:
            taken = [each for each in messages if each.address not in refused]
            for action, path in (("entered", "add_customers"), ("exited", "remove_customers")):
                await self._move([each for each in taken if each.action == action], chosen.segment, path)
        return [refused.get(each.address, Accepted()) for each in messages]

    async def _write(self, messages: Sequence[Message], event: str | None) -> dict[str, Refused]:
        """Return the messages that are refused, by address. What is refused as a whole is tried in halves."""
        sent = self._operations(messages, event)
        answer = await self._call("POST", BATCH, {"batch": [each for _, each in sent]})
        found = _errors(answer)
        named = [each.batch_index for each in found if each.batch_index is not None]
        if answer.is_accepted and len(named) == len(found) and all(0 <= each < len(sent) for each in named):
            return {sent[each.batch_index or 0][0].address: Refused(each.text) for each in found}
        if len(messages) == 1:
            return {messages[0].address: Refused(answer.detail)}
        half = len(messages) // 2
        first = await self._write(messages[:half], event)
        return first | await self._write(messages[half:], event)

    def _operations(self, messages: Sequence[Message], event: str | None) -> list[tuple[Message, Any]]:
        """Return the operations of a batch, each with its message."""
        found: list[tuple[Message, Any]] = [(each, bodies.identify(each, self._field)) for each in messages]
        if event is not None:
            entered = [each for each in messages if each.action == "entered" and not each.quiet]
            found += [(each, bodies.event(each, self._field, event)) for each in entered]
        return found

    async def _move(self, messages: Sequence[Message], segment: int, path: str) -> None:
        if not messages:
            return
        answer = await self._call("POST", self._segment_path(segment, path), bodies.people(messages))
        if not answer.is_accepted:
            raise DestinationRefuses(f"the segment {segment}: expected a manual segment, got {answer.detail}")

    def _segment_path(self, segment: int, path: str) -> str:
        return f"/api/v1/segments/{segment}/{path}?id_type={self._field}"

    async def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        if self._limiter is None:
            self._limiter = RateLimiter(RATE, asyncio.get_running_loop().time)
        content = None if body is None else msgspec.json.encode(body)
        async with self._limiter.slot():
            try:
                return await self._client.send(method, self._url + path, headers=self._headers, body=content)
            except DestinationAway as error:
                self._limiter.close_for(error.retry_after_s)
                raise

    def preview(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Sequence[Request]:
        """Return the batch, and the requests for the segment."""
        chosen = _options(options)
        batch = {"batch": [each for _, each in self._operations(messages, chosen.event)]}
        found = [Request("POST", self._url + BATCH, batch)]
        if chosen.segment is not None:
            for action, path in (("entered", "add_customers"), ("exited", "remove_customers")):
                if moved := [each for each in messages if each.action == action]:
                    url = self._url + self._segment_path(chosen.segment, path)
                    found.append(Request("POST", url, bodies.people(moved)))
        return found

    async def check(self, options: Mapping[str, Any]) -> Sequence[Finding]:
        """Ask for the region of the account. Segments cannot be read with a key of the Track API."""
        try:
            _options(options)
            answer = await self._call("GET", REGION)
        except (DestinationAway, DestinationRefuses) as error:
            return [Finding(False, f"the workspace: {error}")]
        ok = answer.is_accepted
        return [Finding(ok, f"the workspace: {'the key is known' if ok else answer.detail}")]

    def members(self, options: Mapping[str, Any]) -> AsyncIterator[str] | None:
        """Return None: segments cannot be read with a key of the Track API."""
        return None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def open_customerio(form: CustomerIoForm, _settings: Settings, metrics: Metrics) -> CustomerIo:
    """Open a workspace. Raises UserError for a missing site id or key."""
    site_id, key = form.site_id.read(), form.key.read()
    credentials = base64.b64encode(f"{site_id}:{key}".encode()).decode()
    client = HttpClient(form.name, metrics, timeout_s=form.timeout_s, secrets=[credentials, key])
    return CustomerIo(form, client, credentials)


def _options(options: Mapping[str, Any]) -> _Options:
    segment, event = options.get("segment"), options.get("event")
    if segment is not None and not (str(segment).isascii() and str(segment).isdecimal()):
        raise DestinationRefuses(f"segment: expected the number of a manual segment, got {segment!r}")
    if event is not None and not (isinstance(event, str) and 0 < len(event.encode()) <= _LONGEST_NAME):
        raise DestinationRefuses(f"event: expected 1 to {_LONGEST_NAME} bytes, got {event!r}")
    return _Options(None if segment is None else int(segment), event)


def _errors(answer: Answer) -> list[_Error]:
    """Return what an answer says of single operations; an answer of success may be empty."""
    if not answer.body.strip():
        return []
    try:
        return msgspec.json.decode(answer.body, type=_Errors).errors
    except msgspec.DecodeError:
        if answer.is_accepted:
            raise DestinationAway(f"expected JSON, got status {answer.status}") from None
        return []
