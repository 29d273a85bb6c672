"""The adapter of Klaviyo: bulk imports into lists, removals by profile id, and events."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

from pydantic import AfterValidator, Field

from segops.config import Settings
from segops.destinations.http import HttpClient
from segops.destinations.klaviyo import api, bodies, checks, events
from segops.destinations.klaviyo.api import KlaviyoApi, all_of
from segops.destinations.klaviyo.batching import Batching
from segops.destinations.klaviyo.imports import Imports
from segops.destinations.model import Form, Secret
from segops.destinations.port import (
    Accepted,
    Batch,
    DestinationRefuses,
    Finding,
    Later,
    Message,
    Outcome,
    Person,
    Refused,
    Request,
)
from segops.metrics import Metrics

#: As many as an import takes; a message is longer than its profile in there.
_MAX_MESSAGES: Final = 10_000
_MAX_BYTES: Final = 4_500_000
#: As many as one second's requests.
_FEW: Final = 75
_MOST_REMOVED: Final = 1_000
_LOOK_UP: Final = 100
#: Many servers refuse a URL of more than 8 KB; the limit of this one is not documented.
_LOOK_UP_BYTES: Final = 4_000
#: Four jobs at once are looked at twice a second in all, as the rate allows.
_POLLS_S: Final = (0.3, *[0.2] * 4, 0.5, 1.0, *[2.0] * 30, *[10.0] * 54)
_URL: Final = re.compile(
    r"https://[A-Za-z0-9.-]{1,253}(:\d{1,5})?|http://(127\.0\.0\.1|localhost)(:\d{1,5})?"
)
_OK: Final = Accepted()
#: When exits are tried again that wait for an import.
_IMPORT_S: Final = 30.0


def _url(text: str) -> str:
    if _URL.fullmatch(text) is None:
        raise ValueError("expected https://host without a path, or http:// on loopback")
    return text


class KlaviyoForm(Form):
    """What is written of a Klaviyo account."""

    kind: Literal["klaviyo"]
    key: Secret
    url: Annotated[str, AfterValidator(_url)] = "https://a.klaviyo.com"
    timeout_s: float = Field(default=30.0, gt=0, le=120)


class Klaviyo:
    """The adapter of one account. ``options``: ``list``, ``metric``, or both."""

    batch = Batch(_MAX_MESSAGES, _MAX_BYTES)

    def __init__(
        self, account: KlaviyoApi, url: str, *, polls_s: Sequence[float] = _POLLS_S, few: int = _FEW
    ) -> None:
        self._api = account
        self._url = url
        self._imports = Imports(account, polls_s, few)
        self._few = few
        self._batchings: dict[tuple[str, str | None, str | None, bool], Batching] = {}

    def address_of(self, person: Person) -> str | None:
        """Return the e-mail address, without spaces around it and in lower case."""
        return None if person.email is None else person.email.strip().lower() or None

    async def send(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Sequence[Outcome]:
        """Import who has entered, update properties, remove who has left, and record the events.

        What callers send of an audience at the same time goes together. Exits go apart: they may have to
        wait for imports.
        """
        list_id, metric = _options(options)
        leaving = [each for each in messages if each.action == "exited" and list_id is not None]
        staying = [each for each in messages if each.action != "exited" or list_id is None]
        groups = [each for each in (staying, leaving) if each]
        sent = [self._batching(each, list_id, metric).send(each) for each in groups]
        found: dict[str, Outcome] = {}
        for group, outcomes in zip(groups, await asyncio.gather(*sent, return_exceptions=True), strict=True):
            if isinstance(outcomes, BaseException):
                raise outcomes
            found |= zip((each.address for each in group), outcomes, strict=True)
        return [found[each.address] for each in messages]

    def _batching(self, messages: Sequence[Message], list_id: str | None, metric: str | None) -> Batching:
        first = messages[0]
        key = (first.audience, list_id, metric, first.action == "exited")
        deliver = partial(self._deliver, list_id, metric)
        return self._batchings.setdefault(key, Batching(deliver, self.batch.messages))

    async def _deliver(
        self, list_id: str | None, metric: str | None, messages: Sequence[Message]
    ) -> Sequence[Outcome]:
        found: dict[str, Refused | Later] = {}
        for some, into in _imported(messages, list_id):
            found |= await self._imports.bring(some, into)
        leaving = [each.address for each in messages if each.action == "exited"]
        if list_id is not None and leaving and not await self._remove(leaving, list_id):
            found |= dict.fromkeys(leaving, Later("an import of them has not ended", _IMPORT_S))
        if metric is not None:
            told = [each for each in messages if each.action != "updated" and each.address not in found]
            found |= await events.record(self._api, told, metric)
        return [found.get(each.address, _OK) for each in messages]

    # -- lists -----------------------------------------------------------------------------------------

    async def _remove(self, addresses: Sequence[str], list_id: str) -> bool:
        """Remove profiles from a list; return False if an import could add them again, so that none was.

        An address without a profile is in no list.
        """
        if not await self._imports.await_into(list_id):
            return False
        looked_up = await all_of(self._ids(some) for some in _looked_up(addresses))
        ids = [each for some in looked_up for each in some]
        for begin in range(0, len(ids), _MOST_REMOVED):
            body = bodies.profile_ids(ids[begin : begin + _MOST_REMOVED])
            answer = await self._api.call(api.REMOVE, list_id, body=body)
            if not answer.is_accepted:
                await self._api.require_list(list_id)
                raise DestinationRefuses(f"the list {list_id}: {answer.detail}")
        return True

    async def _ids(self, addresses: Sequence[str]) -> list[str]:
        return [each["id"] async for each in self._profiles("email", addresses)]

    # -- people ----------------------------------------------------------------------------------------

    def preview(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Sequence[Request]:
        """Return the imports, and the events; who leaves a list is looked up first, and so not shown.

        Nor is the request that adds profiles to the list which were sent one by one: Klaviyo says their ids.
        """
        list_id, metric = _options(options)
        told = [each for each in messages if each.action != "updated"]
        found = [each for some, into in _imported(messages, list_id) for each in self._previewed(some, into)]
        if metric is not None and len(told) > api.EVENT.rate.burst:
            found.append(self._request(api.EVENTS, bodies.events_job(told[: events.MOST_EVENTS], metric)))
        elif metric is not None:
            found += [self._request(api.EVENT, bodies.event(each, metric)) for each in told]
        return found

    def _previewed(self, messages: Sequence[Message], list_id: str | None) -> list[Request]:
        if len(messages) <= self._few:
            return [self._request(api.PROFILE, bodies.profile(each)) for each in messages]
        return [self._request(api.IMPORT, bodies.import_job(messages, list_id))]

    def _request(self, endpoint: api.Endpoint, body: Any) -> Request:
        return Request(endpoint.method, self._url + endpoint.path, body)

    async def check(self, options: Mapping[str, Any]) -> Sequence[Finding]:
        """Read the account, and try what the options need. Nothing is written."""
        return await checks.check(self._api, options.get("list"), options.get("metric"))

    def members(self, options: Mapping[str, Any]) -> AsyncIterator[str] | None:
        """Return the addresses of the profiles in the list; None without a list."""
        list_id, _ = _options(options)
        return None if list_id is None else self._members(list_id)

    async def _members(self, list_id: str) -> AsyncIterator[str]:
        ids = [
            each["id"] async for each in self._api.pages(api.MEMBERS, list_id, {"page[size]": str(_LOOK_UP)})
        ]
        for some in _looked_up(ids):
            async for profile in self._profiles("id", some):
                if (email := profile["attributes"].get("email")) is not None:
                    yield str(email)

    def _profiles(self, field: str, values: Sequence[str]) -> AsyncIterator[Any]:
        """Yield the profiles with one of at most ``_LOOK_UP`` values of a field."""
        query = {
            "filter": bodies.any_of(field, values),
            "fields[profile]": "email",
            "page[size]": str(_LOOK_UP),
        }
        return self._api.pages(api.PROFILES, "", query)

    async def close(self) -> None:
        """Close the connections."""
        for each in self._batchings.values():
            each.close()
        await self._api.close()


def open_klaviyo(form: KlaviyoForm, _settings: Settings, metrics: Metrics) -> Klaviyo:
    """Open an account. Raises UserError for a missing key."""
    key = form.key.read()
    client = HttpClient(form.name, metrics, timeout_s=form.timeout_s, secrets=[key])
    return Klaviyo(KlaviyoApi(client, form.url, key), form.url)


def _options(options: Mapping[str, Any]) -> tuple[str | None, str | None]:
    list_id, metric = options.get("list"), options.get("metric")
    if list_id is None and metric is None:
        raise DestinationRefuses("the audience names neither a list nor a metric")
    return (None if list_id is None else str(list_id)), (None if metric is None else str(metric))


def _imported(messages: Sequence[Message], list_id: str | None) -> Iterator[tuple[list[Message], str | None]]:
    """Yield the messages that are imported, with the list that they go into.

    An update goes into none, so that it adds no one whom a person has removed there.
    """
    entered = [each for each in messages if each.action == "entered"]
    updated = [each for each in messages if each.action == "updated"]
    if list_id is None:
        updated = [*entered, *updated]
    elif entered:
        yield entered, list_id
    if updated := [each for each in updated if bodies.properties_of(each)]:
        yield updated, None


def _looked_up(values: Sequence[str]) -> Iterator[list[str]]:
    """Yield values in parts that fit into the filter of one request, by number and by encoded bytes."""
    part: list[str] = []
    length = 0
    for each in values:
        encoded = len(quote(each, safe="")) + len(quote('"",', safe=""))
        if part and (len(part) == _LOOK_UP or length + encoded > _LOOK_UP_BYTES):
            yield part
            part, length = [], 0
        part.append(each)
        length += encoded
    if part:
        yield part
