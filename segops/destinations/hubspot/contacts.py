"""Contacts of HubSpot by their addresses: record ids, and properties that are written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from segops.destinations.http import Answer
from segops.destinations.hubspot import api, bodies
from segops.destinations.hubspot.api import HubSpotApi, document_of
from segops.destinations.port import DestinationRefuses, Later, Outcome, Refused

#: A batch of contacts has at most so many.
MOST: Final = 100
_INVALID: Final = 400
_NOT_FOUND: Final = "OBJECT_NOT_FOUND"
#: Errors that may be gone the next time; after OBJECT_NOT_FOUND the contact is looked up again.
_PASSING: Final = (_NOT_FOUND, "INTERNAL_ERROR", "RATE_LIMITS")
_AGAIN_S: Final = 30.0
_UNKNOWN_PROPERTY: Final = re.compile(r'PROPERTY_DOESNT_EXIST.{0,40}?name\\*"\s*:\s*\\*"(\w+)', re.DOTALL)


class Written(NamedTuple):
    """What has come of contacts, by address: their record ids, and the outcomes of those that failed."""

    ids: dict[str, str]
    failed: dict[str, Outcome]


class Contacts:
    """The contacts of an account."""

    def __init__(self, account: HubSpotApi) -> None:
        self._api = account

    async def ids_of(self, addresses: Sequence[str]) -> Written:
        """Look up at most ``MOST`` addresses. Those without a contact are in neither part."""
        answer = await self._read(addresses, by_email=True)
        if answer.status == _INVALID:
            if len(addresses) == 1:
                return Written({}, {addresses[0]: Refused(f"the look-up: status {answer.status}")})
            half = len(addresses) // 2
            first, second = [await self.ids_of(some) for some in (addresses[:half], addresses[half:])]
            return Written(first.ids | second.ids, first.failed | second.failed)
        document = _document(answer)
        ids = {
            address: str(each["id"])
            for each in document["results"]
            for address in addresses_of(each)
            if address in addresses
        }
        failed: dict[str, Outcome] = {
            address: Later(str(error.get("category")), _AGAIN_S)
            for error in document.get("errors", ())
            if error.get("category") != _NOT_FOUND
            for address in _named(error)
            if address in addresses
        }
        return Written(ids, failed)

    async def addresses(self, record_ids: Sequence[str]) -> list[str]:
        """Return the addresses of at most ``MOST`` contacts."""
        document = _document(await self._read(record_ids, by_email=False))
        return [address for each in document["results"] for address in addresses_of(each)]

    async def _read(self, values: Sequence[str], *, by_email: bool) -> Answer:
        return await self._api.call(api.READ, body=bodies.look_up(values, by_email=by_email))

    async def write(self, endpoint: api.Endpoint, inputs: Mapping[str, Mapping[str, Any]]) -> Written:
        """Write contacts, given by address. What is refused without being named is tried in halves."""
        if not inputs:
            return Written({}, {})
        answer = await self._api.call(endpoint, body={"inputs": [*inputs.values()]})
        if answer.is_accepted:
            found = _written(document_of(answer), inputs)
        else:
            _check_properties(answer)
            found = Written({}, {})
        rest = [each for each in inputs if each not in found.ids and each not in found.failed]
        if not rest:
            return found
        if len(inputs) == 1:
            return Written({}, {rest[0]: _unexplained(answer)})
        half = (len(rest) + 1) // 2
        for some in (rest[:half], rest[half:]):
            more = await self.write(endpoint, {each: inputs[each] for each in some})
            found = Written(found.ids | more.ids, found.failed | more.failed)
        return found


def addresses_of(contact: Mapping[str, Any]) -> list[str]:
    """Return the addresses of a contact, in lower case.

    >>> addresses_of({"properties": {"email": "Ann@a.example", "hs_additional_emails": "b@a.example;c@x.y"}})
    ['ann@a.example', 'b@a.example', 'c@x.y']
    """
    properties = contact.get("properties") or {}
    others = (properties.get(bodies.OTHER_EMAILS) or "").split(";")
    every = (properties.get(bodies.EMAIL) or "", *others)
    return [found for each in every if (found := each.strip().lower())]


def _document(answer: Answer) -> dict[str, Any]:
    if not answer.is_accepted:
        # Without the server's words: they may repeat the addresses that were asked for.
        raise DestinationRefuses(f"contacts cannot be read: status {answer.status}")
    return document_of(answer)


def _written(document: Mapping[str, Any], inputs: Mapping[str, Mapping[str, Any]]) -> Written:
    """Return who of a batch was written, and who failed, as far as the answer names them."""
    by_name = {str(each["objectWriteTraceId"]): address for address, each in inputs.items()}
    by_name |= {str(each["id"]): address for address, each in inputs.items()}
    ids, failed = dict[str, str](), dict[str, Outcome]()
    for each in document["results"]:
        for name in (each.get("objectWriteTraceId"), str(each["id"]), *addresses_of(each)):
            if name in by_name:
                ids[by_name[name]] = str(each["id"])
    for error in document.get("errors", ()):
        for name in _named(error):
            if name in by_name:
                failed[by_name[name]] = _outcome(error)
    return Written(ids, failed)


def _named(error: Mapping[str, Any]) -> Iterator[str]:
    """Yield what an error of a batch names: ids, addresses, or the traces of inputs."""
    for values in (error.get("context") or {}).values():
        yield from (str(each) for each in (values if isinstance(values, list) else [values]))


def _outcome(error: Mapping[str, Any]) -> Outcome:
    category = str(error.get("category"))
    if category in _PASSING:
        return Later(category, _AGAIN_S)
    return Refused(f"{category}: {error.get('message')}", str(error.get("id") or ""))


def _unexplained(answer: Answer) -> Outcome:
    if not answer.is_accepted:
        return Refused(answer.detail)
    errors = document_of(answer).get("errors", ())
    return _outcome(errors[0]) if errors else Later("HubSpot answered without this contact", _AGAIN_S)


def _check_properties(answer: Answer) -> None:
    """Raise DestinationRefuses if contacts have no such property: a person has to create it."""
    text = answer.body.decode(errors="replace")
    if "PROPERTY_DOESNT_EXIST" in text:
        named = _UNKNOWN_PROPERTY.search(text)
        raise DestinationRefuses(f"contacts have no property {named[1] if named else 'of some name'}")
