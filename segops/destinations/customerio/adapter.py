"""The adapter of Customer.io: people of manual segments, their attributes, and events of entries."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import Field

from segops.config import Settings
from segops.destinations.customerio import api, bodies, calls
from segops.destinations.customerio.api import Api, CustomerIoApi, document_of
from segops.destinations.customerio.calls import Call
from segops.destinations.customerio.segments import MAX_PEOPLE, Segments
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
    Request,
)
from segops.metrics import Metrics

_MAX_BYTES: Final = 2_000_000
_FIELDS: Final = {"user_id": "id", "email": "email"}
_OK: Final = Accepted()


class CustomerIoForm(Form):
    """What is written of a Customer.io workspace. ``url``: a server other than those of the region."""

    kind: Literal["customerio"]
    site_id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,100}$")
    key: Secret
    app_key: Secret | None = None
    region: Literal["us", "eu"] = "us"
    url: ApiUrl | None = None
    identify_by: Literal["user_id", "email"] = "user_id"
    timeout_s: float = Field(default=30.0, gt=0, le=120)

    @property
    def hosts(self) -> Mapping[Api, str]:
        """The address of each API."""
        return api.HOSTS[self.region] if self.url is None else {"track": self.url, "app": self.url}


class CustomerIoWorkspace:
    """The adapter of one workspace. ``options``: ``segment``, ``event``, or both."""

    batch = Batch(MAX_PEOPLE, _MAX_BYTES)

    def __init__(self, workspace: CustomerIoApi, form: CustomerIoForm) -> None:
        self._api = workspace
        self._region = form.region
        self._field = _FIELDS[form.identify_by]
        self._segments = Segments(workspace, self._field)

    def address_of(self, person: Person) -> str | None:
        """Return the user id, or the e-mail address without spaces around it and in lower case."""
        if self._field == "id":
            return person.user_id or None
        return None if person.email is None else person.email.strip().lower() or None

    async def send(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Sequence[Outcome]:
        """Write attributes, add those who are members, remove those who are not, then record entries."""
        segment, event = _options(options)
        if segment is not None:
            await self._segments.require_manual(segment)
        failed = await calls.carry_out(self._api, self._people(messages))
        if segment is not None:
            for member, action in ((True, "entered"), (False, "exited")):
                moved = [each.address for each in messages if each.action == action]
                taken = [each for each in moved if each not in failed]
                failed |= await self._segments.keep(segment, taken, member=member)
        told = [each for each in messages if each.address not in failed]
        failed |= await calls.carry_out(self._api, self._events(told, event))
        return [failed.get(each.address, _OK) for each in messages]

    def _people(self, messages: Sequence[Message]) -> list[Call]:
        return [
            Call(each.address, bodies.person(each, self._field))
            for each in messages
            if each.action == "entered"
            or (each.action == "updated" and bodies.attributes_of(each.properties))
        ]

    def _events(self, messages: Sequence[Message], name: str | None) -> list[Call]:
        if name is None:
            return []
        return [
            Call(each.address, bodies.event(each, self._field, name))
            for each in messages
            if each.action == "entered" and not each.quiet
        ]

    # -- people ----------------------------------------------------------------------------------------

    def preview(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Sequence[Request]:
        """Return the requests for people, the segment and the events; none that only reads."""
        segment, event = _options(options)
        people = self._batches(self._people(messages))
        changes = [] if segment is None else self._changes(messages, segment)
        return [*people, *changes, *self._batches(self._events(messages, event))]

    def _batches(self, made: Sequence[Call]) -> list[Request]:
        url = self._api.url_of(api.BATCH)
        return [Request("POST", url, calls.body_of(part)) for part in calls.batches(made, {})]

    def _changes(self, messages: Sequence[Message], segment: int) -> list[Request]:
        found = []
        for endpoint, action in ((api.ADD, "entered"), (api.REMOVE, "exited")):
            url = self._api.url_of(endpoint, segment, query=self._segments.query)
            if ids := [each.address for each in messages if each.action == action]:
                found.append(Request("POST", url, {"ids": ids}))
        return found

    async def check(self, options: Mapping[str, Any]) -> Sequence[Finding]:
        """Read the region of the account, and the segment if the options name one. Nothing is written."""
        try:
            segment, _ = _options(options) if options.keys() & {"segment", "event"} else (None, None)
            return [await self._region_found(), *await self._segment_found(segment)]
        except (DestinationAway, DestinationRefuses) as error:
            return [Finding(False, f"the workspace: {error}")]

    async def _region_found(self) -> Finding:
        answer = await self._api.call(api.REGION)
        if not answer.is_accepted:
            return Finding(False, f"the workspace: {answer.detail}")
        region = document_of(answer).get("region")
        if region != self._region:
            return Finding(False, f"the workspace is in the region {region}, not {self._region}")
        return Finding(True, "the workspace: found")

    async def _segment_found(self, segment: int | None) -> list[Finding]:
        if not self._api.reads:
            return (
                [] if segment is None else [Finding(True, f"the segment {segment}: not read without app_key")]
            )
        problem = await self._segments.problem_of(segment or 0)
        if segment is None:
            return [Finding(True, "the segments: found")]
        return [Finding(problem is None, problem or f"the segment {segment}: found")]

    def members(self, options: Mapping[str, Any]) -> AsyncIterator[str] | None:
        """Return the addresses in the segment; None without a segment, or a key to read it."""
        segment, _ = _options(options)
        return self._segments.members(segment) if segment is not None and self._api.reads else None

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()


def open_customerio(form: CustomerIoForm, _settings: Settings, metrics: Metrics) -> CustomerIoWorkspace:
    """Open a workspace. Raises UserError for a missing key."""
    key = form.key.read()
    basic = base64.b64encode(f"{form.site_id}:{key}".encode()).decode()
    credentials: dict[Api, str] = {"track": f"Basic {basic}"}
    secrets = [basic, key]
    if form.app_key is not None:
        secrets.append(app_key := form.app_key.read())
        credentials["app"] = f"Bearer {app_key}"
    client = HttpClient(form.name, metrics, timeout_s=form.timeout_s, secrets=secrets)
    return CustomerIoWorkspace(CustomerIoApi(client, form.hosts, credentials), form)


def _options(options: Mapping[str, Any]) -> tuple[int | None, str | None]:
    segment, event = options.get("segment"), options.get("event")
    if segment is None and event is None:
        raise DestinationRefuses("the audience names neither a segment nor an event")
    if segment is not None and not (str(segment).isascii() and str(segment).isdecimal()):
        raise DestinationRefuses(f"segment: expected the number of a segment, got {segment!r}")
    if event is not None and not (isinstance(event, str) and event.strip()):
        raise DestinationRefuses(f"event: expected the name of an event, got {event!r}")
    return (None if segment is None else int(segment)), event
