"""The adapter of Braze: attributes of users, and events, by ``/users/track``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
from pydantic import Field

from segops.config import Settings
from segops.destinations.braze.bodies import attribute_of, told_as_events, track
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

PATH: Final = "/users/track"
#: A request has at most 75 objects; a message makes one of attributes, and at most one event.
MAX_OBJECTS: Final = 75
_MAX_BYTES: Final = 1_000_000
#: Documented: 3,000 requests in three seconds.
RATE: Final = Rate(1_000, 60_000)
_LONGEST_NAME: Final = 255
_INVALID: Final = 400


class BrazeForm(Form):
    """What is written of a Braze workspace. ``url``: the REST endpoint of its cluster."""

    kind: Literal["braze"]
    key: Secret
    url: ApiUrl
    identify_by: Literal["external_id", "email"] = "external_id"
    timeout_s: float = Field(default=15.0, gt=0, le=60)


class _Error(msgspec.Struct):
    """An error about one object of a request, by its place; ``index`` None: about none in particular."""

    type: str = ""
    input_array: str = ""
    index: int | None = None


class _Answer(msgspec.Struct):
    attributes_processed: int = 0
    events_processed: int = 0
    errors: list[_Error | str] = []


class Braze:
    """The adapter of one workspace. ``options``: ``attribute``, whose name is made otherwise, ``event``."""

    batch = Batch(MAX_OBJECTS // 2, _MAX_BYTES)

    def __init__(self, form: BrazeForm, client: HttpClient, key: str) -> None:
        self._client = client
        self._url = form.url + PATH
        self._field = form.identify_by
        self._headers = {
            "authorization": f"Bearer {key}",
            "content-type": "application/json",
            "user-agent": "segops",
        }
        self._limiter: RateLimiter | None = None

    def address_of(self, person: Person) -> str | None:
        """Return the user id; or the e-mail address, without spaces around it and in lower case."""
        if self._field == "external_id":
            return (person.user_id or "").strip() or None
        return None if person.email is None else person.email.strip().lower() or None

    async def send(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Sequence[Outcome]:
        """Write the attributes and events of all messages in one request."""
        attribute, event = _options(options)
        refused = await self._track(messages, attribute, event)
        return [refused.get(each.address, Accepted()) for each in messages]

    async def _track(
        self, messages: Sequence[Message], attribute: str | None, event: str | None
    ) -> dict[str, Refused]:
        """Return the messages that are refused, by address. What is refused as a whole is tried in halves.

        Events may be recorded again then: Braze has no id for them.
        """
        answer = await self._post(self._body(messages, attribute, event))
        refused, unnamed = _refused(answer, messages, told_as_events(messages) if event else [])
        if not unnamed:
            return refused
        if len(messages) == 1:
            return {messages[0].address: Refused(answer.detail)}
        half = len(messages) // 2
        first = await self._track(messages[:half], attribute, event)
        return first | await self._track(messages[half:], attribute, event)

    def _body(self, messages: Sequence[Message], attribute: str | None, event: str | None) -> dict[str, Any]:
        name = attribute or attribute_of(messages[0].audience)
        return track(messages, field=self._field, attribute=name, event=event)

    async def _post(self, body: Mapping[str, Any]) -> Answer:
        if self._limiter is None:
            self._limiter = RateLimiter(RATE, asyncio.get_running_loop().time)
        async with self._limiter.slot():
            try:
                content = msgspec.json.encode(body)
                return await self._client.send("POST", self._url, headers=self._headers, body=content)
            except DestinationAway as error:
                self._limiter.close_for(error.retry_after_s)
                raise

    def preview(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Sequence[Request]:
        """Return the one request."""
        attribute, event = _options(options)
        return [Request("POST", self._url, self._body(messages, attribute, event))]

    async def check(self, options: Mapping[str, Any]) -> Sequence[Finding]:
        """Send a request without objects, which Braze refuses with 400 if it knows the key."""
        try:
            _options(options)
            answer = await self._post({"attributes": []})
        except (DestinationAway, DestinationRefuses) as error:
            return [Finding(False, f"the workspace: {error}")]
        ok = answer.is_accepted or answer.status == _INVALID
        return [Finding(ok, f"the workspace: {'the key is known' if ok else answer.detail}")]

    def members(self, options: Mapping[str, Any]) -> AsyncIterator[str] | None:
        """Return None: who has an attribute can only be exported, as files."""
        return None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def open_braze(form: BrazeForm, _settings: Settings, metrics: Metrics) -> Braze:
    """Open a workspace. Raises UserError for a missing key."""
    key = form.key.read()
    return Braze(form, HttpClient(form.name, metrics, timeout_s=form.timeout_s, secrets=[key]), key)


def _options(options: Mapping[str, Any]) -> tuple[str | None, str | None]:
    found = []
    for name in ("attribute", "event"):
        value = options.get(name)
        if value is not None and not (isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME):
            raise DestinationRefuses(f"{name}: expected 1 to {_LONGEST_NAME} characters, got {value!r}")
        found.append(value)
    return found[0], found[1]


def _refused(
    answer: Answer, messages: Sequence[Message], events: Sequence[Message]
) -> tuple[dict[str, Refused], bool]:
    """Return the messages that an answer refuses, and whether it refuses some that it does not name."""
    if not answer.is_accepted:
        return {}, True
    try:
        found = msgspec.json.decode(answer.body, type=_Answer)
    except msgspec.DecodeError:
        raise DestinationAway(f"expected JSON, got status {answer.status}") from None
    arrays = {"attributes": messages, "events": events}
    refused: dict[str, Refused] = {}
    unnamed = False
    for error in found.errors:
        of = None if isinstance(error, str) else _named(error, arrays)
        if of is None:
            unnamed = True
        else:
            refused[of.address] = Refused(str(getattr(error, "type", error)))
    return refused, unnamed


def _named(error: _Error, arrays: Mapping[str, Sequence[Message]]) -> Message | None:
    among = arrays.get(error.input_array, ())
    return among[error.index] if error.index is not None and 0 <= error.index < len(among) else None
