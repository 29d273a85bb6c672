"""The adapter of HubSpot: record ids by address, properties of contacts, and memberships of static lists."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import Field

from segops.config import Settings
from segops.destinations.http import Answer, HttpClient
from segops.destinations.hubspot import api, bodies
from segops.destinations.hubspot.api import HubSpotApi, document_of
from segops.destinations.hubspot.contacts import MOST, Contacts
from segops.destinations.model import ApiUrl, Form, Secret
from segops.destinations.port import (
    Accepted,
    Batch,
    DestinationAway,
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

_MAX_BYTES: Final = 1_000_000
_CONTACTS: Final = "0-1"
_STATIC: Final = ("MANUAL", "SNAPSHOT")
_PAGE: Final = "250"
_SCOPES: Final = frozenset(
    ("crm.lists.read", "crm.lists.write", "crm.objects.contacts.read", "crm.objects.contacts.write")
)
_AGAIN_S: Final = 5.0
_UNKNOWN: Final = Refused("no contact has this address")
_OK: Final = Accepted()


class HubSpotForm(Form):
    """What is written of a HubSpot account. ``create``: whether people without a contact get one."""

    kind: Literal["hubspot"]
    token: Secret
    url: ApiUrl = "https://api.hubapi.com"
    create: bool = True
    per_10_s: int = Field(default=100, ge=10, le=1_000)
    timeout_s: float = Field(default=30.0, gt=0, le=120)


class HubSpot:
    """The adapter of one private app. ``options``: ``list``."""

    batch = Batch(MOST, _MAX_BYTES)

    def __init__(self, account: HubSpotApi, form: HubSpotForm) -> None:
        self._api = account
        self._contacts = Contacts(account)
        self._form = form
        #: Lists that were found to be static lists of contacts.
        self._static: set[str] = set()

    def address_of(self, person: Person) -> str | None:
        """Return the e-mail address, without spaces around it and in lower case."""
        return None if person.email is None else person.email.strip().lower() or None

    async def send(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Sequence[Outcome]:
        """Find or create the contacts, write their properties, then add and remove them in one request."""
        list_id = _list_of(options)
        await self._require_static(list_id)
        ids, failed = await self._contacts.ids_of([each.address for each in messages])
        rest = [each for each in messages if each.address not in failed]
        for endpoint, inputs in self._writes(rest, ids).items():
            written = await self._contacts.write(endpoint, inputs)
            ids |= written.ids
            failed |= written.failed
        for each in rest:
            if each.address not in ids and each.action != "exited":
                failed.setdefault(each.address, _UNKNOWN)
        rest = [each for each in rest if each.address in ids and each.address not in failed]
        failed |= await self._change(list_id, rest, ids)
        return [failed.get(each.address, _OK) for each in messages]

    def _writes(
        self, messages: Sequence[Message], ids: Mapping[str, str]
    ) -> dict[api.Endpoint, dict[str, dict[str, Any]]]:
        """Return the contacts that are written, by address: changed ones, and new ones."""
        known = [each for each in messages if each.address in ids and bodies.properties_of(each.properties)]
        # Of several addresses of a contact, one writes its properties: a batch names each record once.
        by_record = {ids[each.address]: each for each in known if each.action != "exited"}
        changed = {each.address: bodies.update(each, record) for record, each in by_record.items()}
        new = [each for each in messages if each.action == "entered" and each.address not in ids]
        created = {each.address: bodies.upsert(each) for each in new if self._form.create}
        return {api.UPDATE: changed, api.UPSERT: created}

    # -- lists -----------------------------------------------------------------------------------------

    async def _change(
        self, list_id: str, messages: Sequence[Message], ids: Mapping[str, str]
    ) -> dict[str, Outcome]:
        """Add and remove contacts; return the outcomes of those that HubSpot does not find yet.

        A contact may have several addresses: it is a member while any of them is.
        """
        entering = {ids[each.address] for each in messages if each.action == "entered"}
        leaving = {ids[each.address] for each in messages if each.action == "exited"} - entering
        if not entering | leaving:
            return {}
        answer = await self._api.call(api.CHANGE, list_id, body=bodies.change(entering, leaving))
        if not answer.is_accepted:
            self._static.discard(list_id)
            await self._require_static(list_id)
            raise DestinationRefuses(f"the list {list_id}: {answer.detail}")
        missing = {str(each) for each in document_of(answer).get("recordIdsMissing", ())}
        return {
            each.address: Later(f"the record {ids[each.address]} is missing", _AGAIN_S)
            for each in messages
            if each.action == "entered" and ids[each.address] in missing
        }

    async def _require_static(self, list_id: str) -> None:
        """Raise DestinationRefuses unless the account has this static list of contacts."""
        if list_id in self._static:
            return
        if (problem := _problem(await self._api.call(api.LIST, list_id))) is not None:
            raise DestinationRefuses(f"the list {list_id} {problem}")
        self._static.add(list_id)

    # -- people ----------------------------------------------------------------------------------------

    def preview(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Sequence[Request]:
        """Return the look-up of contacts, and those that are created if it finds none.

        The change of the list has the record ids of the answers, and so is not shown.
        """
        _list_of(options)
        some = messages[:MOST]
        found = {api.READ: bodies.look_up([each.address for each in some], by_email=True)}
        if created := self._writes(some, {})[api.UPSERT]:
            found[api.UPSERT] = {"inputs": [*created.values()]}
        requests = (Request(each.method, self._form.url + each.path, body) for each, body in found.items())
        return [*requests] if some else []

    async def check(self, options: Mapping[str, Any]) -> Sequence[Finding]:
        """Read the account, the scopes of the token, and the list in the options. Nothing is written."""
        try:
            answer = await self._api.call(api.ACCOUNT)
            found = [
                Finding(answer.is_accepted, "the account: found" if answer.is_accepted else answer.detail)
            ]
            found.append(_scopes_in(await self._api.scopes()))
            if options.get("list") is not None:
                list_id = _list_of(options)
                problem = _problem(await self._api.call(api.LIST, list_id))
                found.append(Finding(problem is None, f"the list {list_id} {problem or 'was found'}"))
        except (DestinationAway, DestinationRefuses) as error:
            return [Finding(False, f"the account: {error}")]
        return found

    def members(self, options: Mapping[str, Any]) -> AsyncIterator[str] | None:
        """Return all addresses of the contacts in the list."""
        return self._members(_list_of(options))

    async def _members(self, list_id: str) -> AsyncIterator[str]:
        query = {"limit": _PAGE}
        while True:
            answer = await self._api.call(api.MEMBERS, list_id, query=query)
            if not answer.is_accepted:
                raise DestinationRefuses(f"the list {list_id}: {answer.detail}")
            document = document_of(answer)
            ids = [str(each["recordId"]) for each in document["results"]]
            for start in range(0, len(ids), MOST):
                for address in await self._contacts.addresses(ids[start : start + MOST]):
                    yield address
            after = ((document.get("paging") or {}).get("next") or {}).get("after")
            if after is None:
                return
            query = {"limit": _PAGE, "after": str(after)}

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()


def open_hubspot(form: HubSpotForm, _settings: Settings, metrics: Metrics) -> HubSpot:
    """Open an account. Raises UserError for a missing token."""
    token = form.token.read()
    client = HttpClient(form.name, metrics, timeout_s=form.timeout_s, secrets=[token])
    return HubSpot(HubSpotApi(client, form.url, token, per_10_s=form.per_10_s), form)


def _list_of(options: Mapping[str, Any]) -> str:
    if (found := options.get("list")) is None:
        raise DestinationRefuses("the audience names no list")
    if not (str(found).isascii() and str(found).isdecimal()):
        raise DestinationRefuses(f"list: expected the id of a list, a number, got {found!r}")
    return str(found)


def _problem(answer: Answer) -> str | None:
    """Return why a list cannot be delivered to, as the end of a sentence; None if it can."""
    if answer.status == 404:
        return "does not exist"
    if not answer.is_accepted:
        return f"cannot be read: {answer.detail}"
    found = document_of(answer)["list"]
    if found.get("deletedAt") is not None:
        return "does not exist: it was deleted"
    if found["objectTypeId"] != _CONTACTS:
        return f"holds no contacts: expected the object type {_CONTACTS}, got {found['objectTypeId']}"
    if found["processingType"] not in _STATIC:
        return f"is kept by HubSpot: expected {' or '.join(_STATIC)}, got {found['processingType']}"
    return None


def _scopes_in(answer: Answer) -> Finding:
    if not answer.is_accepted:
        return Finding(False, f"the scopes of the token: {answer.detail}")
    missing = sorted(_SCOPES - {*document_of(answer).get("scopes", ())})
    return Finding(
        not missing, f"the token has no scope {', '.join(missing)}" if missing else "the scopes: complete"
    )
