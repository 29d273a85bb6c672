"""The adapter of Braze: an attribute per audience, and events of entries."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import Field

from segops.config import Settings
from segops.core.text import printable
from segops.destinations.braze import api, bodies
from segops.destinations.braze.api import BrazeApi, fields_of
from segops.destinations.braze.bodies import Naming
from segops.destinations.braze.failures import named_in, possible_in
from segops.destinations.http import HttpClient
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

#: The contracts with the least take 50 objects a request, others 75; a message makes at most two.
_MAX_MESSAGES: Final = 25
_MAX_BYTES: Final = 500_000
_INVALID: Final = 400
_IDENTIFIERS: Final = {"user_id": "external_id", "email": "email"}
_OK: Final = Accepted()


class BrazeForm(Form):
    """What is written of a Braze workspace. ``url``: the REST endpoint of its instance."""

    kind: Literal["braze"]
    key: Secret
    url: ApiUrl
    identify_by: Literal["user_id", "email"] = "user_id"
    timeout_s: float = Field(default=30.0, gt=0, le=120)


class BrazeWorkspace:
    """The adapter of one workspace. ``options``: ``attribute``, ``event``."""

    batch = Batch(_MAX_MESSAGES, _MAX_BYTES)

    def __init__(self, workspace: BrazeApi, form: BrazeForm) -> None:
        self._api = workspace
        self._url = form.url
        self._identifier = _IDENTIFIERS[form.identify_by]

    def address_of(self, person: Person) -> str | None:
        """Return the user id, or the e-mail address without spaces around it and in lower case."""
        if self._identifier == "external_id":
            return person.user_id or None
        return None if person.email is None else person.email.strip().lower() or None

    async def send(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Sequence[Outcome]:
        """Set the attributes, and record the entries, in one request if Braze takes it."""
        naming = self._naming(options, messages)
        refused = await self._track(messages, naming)
        return [refused.get(each.address, _OK) for each in messages]

    async def _track(self, messages: Sequence[Message], naming: Naming) -> dict[str, Refused]:
        """Tell of messages; return those that are refused.

        Of a request that is refused as a whole nothing was taken: without those that the answer names, or
        else in halves, it is sent again.
        """
        if not (body := bodies.tracking(messages, naming)):
            return {}
        answer = await self._api.track(body)
        if answer.is_accepted:
            return possible_in(answer, messages, naming) | named_in(answer, messages, naming)
        named = named_in(answer, messages, naming)
        rest = [each for each in messages if each.address not in named]
        if named:
            return named | await self._track(rest, naming)
        if len(rest) == 1:
            return {rest[0].address: Refused(answer.detail)}
        half = len(rest) // 2
        first = await self._track(rest[:half], naming)
        return first | await self._track(rest[half:], naming)

    def _naming(self, options: Mapping[str, Any], messages: Sequence[Message]) -> Naming:
        attribute, event = options.get("attribute"), options.get("event")
        if attribute is None and messages:
            attribute = messages[0].audience.replace("-", "_")
        _check_names(attribute, event)
        return Naming(self._identifier, str(attribute), event)

    def preview(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Sequence[Request]:
        """Return the one request."""
        body = bodies.tracking(messages, self._naming(options, messages))
        return [Request("POST", self._url + api.TRACK, body)] if body else []

    async def check(self, options: Mapping[str, Any]) -> Sequence[Finding]:
        """Send a request without users, which Braze refuses after it has looked at the key."""
        try:
            self._naming(options, ())
            answer = await self._api.track({"attributes": []})
        except (DestinationAway, DestinationRefuses) as error:
            return [Finding(False, f"{self._url}: {error}")]
        known = answer.is_accepted or answer.status == _INVALID
        ok = known and "message" in fields_of(answer)
        return [Finding(ok, f"{self._url}: {'the key is accepted' if ok else answer.detail}")]

    def members(self, options: Mapping[str, Any]) -> AsyncIterator[str] | None:
        """Return None: Braze lists no users by an attribute."""
        return None

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()


def open_braze(form: BrazeForm, _settings: Settings, metrics: Metrics) -> BrazeWorkspace:
    """Open a workspace. Raises UserError for a missing key."""
    key = form.key.read()
    client = HttpClient(form.name, metrics, timeout_s=form.timeout_s, secrets=[key])
    return BrazeWorkspace(BrazeApi(client, form.url, key), form)


def _check_names(attribute: object, event: object) -> None:
    """Raise DestinationRefuses for a name that Braze does not take, or that has a meaning of its own."""
    for option, name in (("attribute", attribute), ("event", event)):
        if name is not None and not bodies.is_name(name):
            reason = "expected at most 255 characters that begin with neither $ nor _"
            raise DestinationRefuses(f"{option}: {reason}, got {printable(repr(name))}")
    if bodies.is_own(str(attribute)):
        raise DestinationRefuses(f"attribute: {attribute} is a field of Braze's own, name another one")
