"""Profiles that are brought into an account, and into a list of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from segops.destinations.http import Answer
from segops.destinations.klaviyo import api, bodies
from segops.destinations.klaviyo.api import KlaviyoApi, document_of
from segops.destinations.port import DestinationAway, Message, Refused

#: A record of an import, in an error that refuses it.
_RECORD: Final = re.compile(r"/data/attributes/profiles/data/(\d{1,5})(?:/.*)?")


class Imports:
    """Imports of one account. ``polls_s``: the pauses before each look at a job."""

    def __init__(self, account: KlaviyoApi, polls_s: Sequence[float]) -> None:
        self._api = account
        self._polls_s = polls_s

    async def bring(self, messages: Sequence[Message], list_id: str | None) -> dict[str, Refused]:
        """Create or update profiles, and add them to a list; return those that are refused, by address.

        Raises DestinationRefuses if the list does not exist.
        """
        found: dict[str, Refused] = {}
        while messages:
            answer = await self._api.call(api.IMPORT, body=bodies.import_job(messages, list_id))
            if answer.is_accepted:
                return found | await self._ended(document_of(answer)["data"]["id"], messages, list_id)
            wrong = _refused_at_once(answer, messages)
            if not wrong:
                return found | await self._in_halves(messages, list_id, answer)
            found |= wrong
            messages = [each for each in messages if each.address not in wrong]
        return found

    async def _in_halves(
        self, messages: Sequence[Message], list_id: str | None, refusal: Answer
    ) -> dict[str, Refused]:
        """Import what was refused as a whole, without a word about which record is wrong."""
        if list_id is not None:
            await self._api.require_list(list_id)
        if len(messages) == 1:
            return {messages[0].address: Refused(refusal.detail)}
        half = len(messages) // 2
        return await self.bring(messages[:half], list_id) | await self.bring(messages[half:], list_id)

    async def _ended(self, job: str, messages: Sequence[Message], list_id: str | None) -> dict[str, Refused]:
        """Wait for the end of a job; return the records that failed, by address.

        If its errors do not name all of them, halves are imported again, down to single records.
        """
        failed = await self._failed(job)
        named = await self._named(job, messages) if failed else {}
        rest = [each for each in messages if each.address not in named]
        if len(named) >= failed or not rest:
            return named
        if len(rest) == 1:
            return named | {rest[0].address: Refused(f"the import {job} does not say why", job)}
        half = len(rest) // 2
        return named | await self.bring(rest[:half], list_id) | await self.bring(rest[half:], list_id)

    async def _failed(self, job: str) -> int:
        """Wait for the end of a job; return how many records of it failed."""
        for pause_s in self._polls_s:
            await asyncio.sleep(pause_s)
            answer = await self._api.call(api.JOB, job)
            if not answer.is_accepted:
                raise DestinationAway(f"the import {job}: {answer.detail}")
            attributes = document_of(answer)["data"]["attributes"]
            if attributes["status"] == "complete":
                return int(attributes.get("failed_count") or 0)
            if attributes["status"] == "cancelled":
                raise DestinationAway(f"the import {job} was cancelled")
        raise DestinationAway(f"the import {job} has not ended within {sum(self._polls_s):g} s")

    async def _named(self, job: str, messages: Sequence[Message]) -> dict[str, Refused]:
        """Return the records that the errors of a job name, by address."""
        found: dict[str, Refused] = {}
        addresses = {each.address for each in messages}
        async for each in self._api.pages(api.ERRORS, job, {"page[size]": "100"}):
            address = _email_in(each["attributes"].get("original_payload") or {})
            if address not in addresses:
                address = _address_at(each["attributes"].get("source"), messages)
            if address is not None:
                found[address] = Refused(str(each["attributes"]["detail"]), job)
        return found

    async def await_end_of_all(self) -> None:
        """Wait until no import of the account is under way."""
        query = {"filter": bodies.any_of("status", ["queued", "processing"])}
        for pause_s in self._polls_s:
            if not [each async for each in self._api.pages(api.JOBS, "", query)]:
                return
            await asyncio.sleep(pause_s)
        raise DestinationAway(f"imports have not ended within {sum(self._polls_s):g} s: exits wait for them")


def _refused_at_once(answer: Answer, messages: Sequence[Message]) -> dict[str, Refused]:
    """Return the records that an answer refuses by name, by address."""
    found: dict[str, Refused] = {}
    for error in _errors_in(answer):
        if (address := _address_at(error.get("source"), messages)) is not None:
            found[address] = Refused(f"status {answer.status} {error.get('detail')}")
    return found


def _address_at(source: object, messages: Sequence[Message]) -> str | None:
    """Return the address of the record that the source of an error points to."""
    one = _RECORD.fullmatch(str(source.get("pointer"))) if isinstance(source, dict) else None
    return messages[int(one[1])].address if one is not None and int(one[1]) < len(messages) else None


def _errors_in(answer: Answer) -> Iterator[dict[str, Any]]:
    try:
        errors = document_of(answer).get("errors")
    except DestinationAway:
        return
    yield from (each for each in errors if isinstance(each, dict)) if isinstance(errors, list) else ()


def _email_in(payload: Mapping[str, Any]) -> str | None:
    """Return the address in a record as it was sent, or in its attributes; normalised as each address."""
    attributes = payload.get("attributes")
    found = payload.get("email") or (attributes.get("email") if isinstance(attributes, dict) else None)
    return found.strip().lower() if isinstance(found, str) else None
