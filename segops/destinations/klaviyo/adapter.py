"""The adapter of Klaviyo: bulk imports into lists, removals by profile id, and events."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

from pydantic import AfterValidator, Field
from yarl import URL

from segops.config import Settings
from segops.destinations.http import Answer, HttpClient
from segops.destinations.klaviyo import api, bodies
from segops.destinations.klaviyo.api import KlaviyoApi, document_of
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
from segops.metrics import Metrics

#: Removals take at most 1,000 profiles a request, imports 10,000 and 5 MB.
_MAX_MESSAGES: Final = 1_000
_MAX_BYTES: Final = 4_000_000
_LOOK_UP: Final = 100
#: Many servers refuse a URL of more than 8 KB; the limit of this one is not documented.
_LOOK_UP_BYTES: Final = 4_000
_POLLS_S: Final = (0.3, 0.7, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 30.0, 30.0)
_URL: Final = re.compile(
    r"https://[A-Za-z0-9.-]{1,253}(:\d{1,5})?|http://(127\.0\.0\.1|localhost)(:\d{1,5})?"
)
_OK: Final = Accepted()


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

    def __init__(self, account: KlaviyoApi, url: str, *, polls_s: Sequence[float] = _POLLS_S) -> None:
        self._api = account
        self._url = url
        self._polls_s = polls_s

    def address_of(self, person: Person) -> str | None:
        """Return the e-mail address, without spaces around it and in lower case."""
        return None if person.email is None else person.email.strip().lower() or None

    async def send(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Sequence[Outcome]:
        """Import those who are members, remove those who are not, then record the events."""
        list_id, metric = _options(options)
        staying = [each for each in messages if each.action != "exited"]
        if list_id is None:
            staying = [each for each in staying if each.properties]
        refused = await self._import(staying, list_id) if staying else {}
        leaving = [each.address for each in messages if each.action == "exited"]
        if list_id is not None and leaving:
            await self._remove(leaving, list_id)
        if metric is not None:
            told = [each for each in messages if each.action != "updated" and each.address not in refused]
            refused |= await self._record(told, metric)
        return [refused.get(each.address, _OK) for each in messages]

    # -- lists -----------------------------------------------------------------------------------------

    async def _import(self, messages: Sequence[Message], list_id: str | None) -> dict[str, Refused]:
        """Import profiles; return those that are refused. What is refused as a whole is tried in halves."""
        answer = await self._api.call(api.IMPORT, body=bodies.import_job(messages, list_id))
        if answer.is_accepted:
            job = document_of(answer)["data"]["id"]
            return await self._errors(job) if await self._has_errors(job) else {}
        self._check_list(answer, list_id)
        if len(messages) == 1:
            return {messages[0].address: Refused(answer.detail)}
        half = len(messages) // 2
        first = await self._import(messages[:half], list_id)
        return first | await self._import(messages[half:], list_id)

    @staticmethod
    def _check_list(answer: Answer, list_id: str | None) -> None:
        if answer.status == 404:
            raise DestinationRefuses(f"the list {list_id} does not exist: {answer.detail}")

    async def _has_errors(self, job: str) -> bool:
        """Wait for the end of a job; return whether records of it failed."""
        for pause_s in self._polls_s:
            await asyncio.sleep(pause_s)
            answer = await self._api.call(api.JOB, job)
            if not answer.is_accepted:
                raise DestinationAway(f"the import {job}: {answer.detail}")
            attributes = document_of(answer)["data"]["attributes"]
            if attributes["status"] == "complete":
                return bool(attributes.get("failed_count"))
            if attributes["status"] == "cancelled":
                raise DestinationAway(f"the import {job} was cancelled")
        raise DestinationAway(f"the import {job} has not ended within {sum(self._polls_s):g} s")

    async def _errors(self, job: str) -> dict[str, Refused]:
        """Return the records of a job that failed, by address."""
        found: dict[str, Refused] = {}
        async for each in self._pages(api.ERRORS, job, {"page[size]": "100"}):
            attributes = each["attributes"]
            email = _email_in(attributes.get("original_payload") or {})
            if email is None:
                raise DestinationRefuses(f"the import {job}: {attributes['detail']}")
            found[email] = Refused(str(attributes["detail"]), job)
        return found

    async def _remove(self, addresses: Sequence[str], list_id: str) -> None:
        """Remove profiles from a list. An address without a profile is in no list.

        An import that is under way could add them afterwards, also one of whose job nothing is known here.
        """
        await self._await_imports()
        ids: list[str] = []
        for some in _looked_up(addresses):
            ids += [each["id"] async for each in self._profiles("email", some)]
        if not ids:
            return
        answer = await self._api.call(api.REMOVE, list_id, body=bodies.removal(ids))
        self._check_list(answer, list_id)
        if not answer.is_accepted:
            raise DestinationRefuses(f"the list {list_id}: {answer.detail}")

    async def _await_imports(self) -> None:
        """Wait until no import of the account is under way."""
        query = {"filter": bodies.any_of("status", ["queued", "processing"])}
        for pause_s in self._polls_s:
            if not [each async for each in self._pages(api.JOBS, "", query)]:
                return
            await asyncio.sleep(pause_s)
        raise DestinationAway(f"imports have not ended within {sum(self._polls_s):g} s: exits wait for them")

    async def _pages(self, endpoint: api.Endpoint, of: str, query: Mapping[str, str]) -> AsyncIterator[Any]:
        cursor: dict[str, str] = {}
        while True:
            answer = await self._api.call(endpoint, of, query={**query, **cursor})
            if not answer.is_accepted:
                # Without the server's words: they may repeat the addresses that were asked for.
                raise DestinationRefuses(f"{endpoint.path.format(of)}: status {answer.status}")
            document = document_of(answer)
            for each in document["data"]:
                yield each
            following = (document.get("links") or {}).get("next")
            if following is None:
                return
            if not (after := _cursor_in(following)):
                raise DestinationRefuses(
                    f"{endpoint.path.format(of)}: the link to the next page has no cursor"
                )
            cursor = {"page[cursor]": after}

    # -- events ----------------------------------------------------------------------------------------

    async def _record(self, messages: Sequence[Message], metric: str) -> dict[str, Refused]:
        """Record events, in one request if Klaviyo takes it, else one by one; return what it refuses."""
        if not messages:
            return {}
        if len(messages) > 1:
            answer = await self._api.call(api.EVENTS, body=bodies.events_job(messages, metric))
            if answer.is_accepted:
                return {}
        refused = {}
        for each in messages:
            answer = await self._api.call(api.EVENT, body=bodies.event(each, metric))
            if not answer.is_accepted:
                refused[each.address] = Refused(answer.detail)
        return refused

    # -- people ----------------------------------------------------------------------------------------

    def preview(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Sequence[Request]:
        """Return the import, and the events; who leaves a list is looked up first, and so not shown."""
        list_id, metric = _options(options)
        staying = [each for each in messages if each.action != "exited"]
        told = [each for each in messages if each.action != "updated"]
        found = []
        if staying and (list_id is not None or any(each.properties for each in staying)):
            found.append(Request("POST", self._url + api.IMPORT.path, bodies.import_job(staying, list_id)))
        if metric is not None and told:
            found.append(Request("POST", self._url + api.EVENTS.path, bodies.events_job(told, metric)))
        return found

    async def check(self, options: Mapping[str, Any]) -> Sequence[Finding]:
        """Read the account, and the list if the options name one. Nothing is written."""
        found = [await self._checked("the account", api.ACCOUNTS, "")]
        if (list_id := options.get("list")) is not None:
            found.append(await self._checked(f"the list {list_id}", api.LIST, str(list_id)))
        return found

    async def _checked(self, what: str, endpoint: api.Endpoint, of: str) -> Finding:
        try:
            answer = await self._api.call(endpoint, of)
        except (DestinationAway, DestinationRefuses) as error:
            return Finding(False, f"{what}: {error}")
        return Finding(answer.is_accepted, f"{what}: {'found' if answer.is_accepted else answer.detail}")

    def members(self, options: Mapping[str, Any]) -> AsyncIterator[str] | None:
        """Return the addresses of the profiles in the list; None without a list."""
        list_id, _ = _options(options)
        return None if list_id is None else self._members(list_id)

    async def _members(self, list_id: str) -> AsyncIterator[str]:
        ids = [each["id"] async for each in self._pages(api.MEMBERS, list_id, {"page[size]": str(_LOOK_UP)})]
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
        return self._pages(api.PROFILES, "", query)

    async def close(self) -> None:
        """Close the connections."""
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


def _email_in(payload: Mapping[str, Any]) -> str | None:
    """Return the address in a record as it was sent, or in its attributes."""
    attributes = payload.get("attributes")
    found = payload.get("email") or (attributes.get("email") if isinstance(attributes, dict) else None)
    return found if isinstance(found, str) else None


def _cursor_in(url: str) -> str:
    """Return the cursor of a link to the next page.

    >>> _cursor_in("https://a.klaviyo.com/api/profiles?page%5Bcursor%5D=abc&x=1")
    'abc'
    """
    return URL(url).query.get("page[cursor]", "")
