"""Profiles that are brought into an account, and into a list of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from segops.destinations.http import Answer
from segops.destinations.klaviyo import api, bodies
from segops.destinations.klaviyo.api import KlaviyoApi, all_of, document_of
from segops.destinations.port import DestinationAway, Message, Refused

#: Exits wait for two minutes at most.
_POLLS_OF_EXITS: Final = 43
_MOST_PROFILES: Final = 10_000
#: A record of an import, in an error that refuses it.
_RECORD: Final = re.compile(r"/data/attributes/profiles/data/(\d{1,5})(?:/.*)?")


class Imports:
    """Imports of one account.

    ``polls_s``: the pauses before each look at a job. ``few``: the most profiles that are sent one by one.
    """

    def __init__(self, account: KlaviyoApi, polls_s: Sequence[float], few: int) -> None:
        self._api = account
        self._few = few
        self._polls_s = polls_s
        self.waited_for: set[str] = set()
        #: Jobs that may still end: what they hold is sent again.
        self.given_up: set[str] = set()
        #: Lists into which imports were sent whose answer never came: any job there may be one of them.
        self._unanswered: set[str | None] = set()

    async def bring(self, messages: Sequence[Message], list_id: str | None) -> dict[str, Refused]:
        """Create or update profiles, and add them to a list; return those that are refused, by address.

        A few go one by one, whose answers come at once, as long as the rates allow it. Raises
        DestinationRefuses if the list does not exist.
        """
        may_add = list_id is None or self._api.spare(api.ADD) > 0
        if len(messages) <= min(self._few, self._api.spare(api.PROFILE)) and may_add:
            return await self._singly(messages, list_id)
        found: dict[str, Refused] = {}
        for some in bodies.divided(messages, bodies.profile, _MOST_PROFILES):
            found |= await self._in_bulk(some, list_id)
        return found

    async def _singly(self, messages: Sequence[Message], list_id: str | None) -> dict[str, Refused]:
        calls = (self._api.call(api.PROFILE, body=bodies.profile(each)) for each in messages)
        answers = [*zip(messages, await all_of(calls), strict=True)]
        found = {each.address: Refused(answer.detail) for each, answer in answers if not answer.is_accepted}
        taken = [(each, answer) for each, answer in answers if answer.is_accepted]
        if list_id is None or not taken:
            return found
        ids = [document_of(answer)["data"]["id"] for _, answer in taken]
        added = await self._api.call(api.ADD, list_id, body=bodies.profile_ids(ids))
        if added.is_accepted:
            return found
        await self._api.require_list(list_id)
        return found | await self._in_bulk([each for each, _ in taken], list_id)

    async def _in_bulk(self, messages: Sequence[Message], list_id: str | None) -> dict[str, Refused]:
        found: dict[str, Refused] = {}
        while messages:
            answer = await self._start(messages, list_id)
            if answer.is_accepted:
                return found | await self._ended(document_of(answer)["data"]["id"], messages, list_id)
            wrong = _refused_at_once(answer, messages)
            if not wrong:
                return found | await self._in_halves(messages, list_id, answer)
            found |= wrong
            messages = [each for each in messages if each.address not in wrong]
        return found

    async def _start(self, messages: Sequence[Message], list_id: str | None) -> Answer:
        try:
            return await self._api.call(api.IMPORT, body=bodies.import_job(messages, list_id))
        except BaseException:
            self._unanswered.add(list_id)
            raise

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
        self.waited_for.add(job)
        try:
            failed = await self._failed(job)
        except BaseException:
            self.given_up.add(job)
            raise
        finally:
            self.waited_for.discard(job)
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

    # -- what may undo an exit -------------------------------------------------------------------------

    async def await_into(self, list_id: str) -> bool:
        """Wait until no import may add anyone to a list whom a call that begins now has removed.

        That may be an import that was given up here, or that another process began. Those that begin later
        do not matter, nor do those into other lists, nor those that are awaited here: they hold other people.
        Imports of unknown origin that last longer than that are taken for those of other programs.
        Returns False if one that was given up here still lasts.
        """
        waited = [each for each in await self._under_way() if await self._may_add(each, list_id)]
        if list_id in self._unanswered:
            self.given_up.update(waited)
            self._unanswered.discard(list_id)
        for pause_s in self._polls_s[:_POLLS_OF_EXITS]:
            if not waited:
                return True
            await asyncio.sleep(pause_s)
            still = await self._under_way()
            waited = [each for each in waited if each in still]
        return self.given_up.isdisjoint(waited)

    async def _under_way(self) -> set[str]:
        """Return the imports of the account that have not ended, without those that are awaited here."""
        before = set(self.given_up)
        query = {"filter": bodies.any_of("status", ["queued", "processing"]), "page[size]": "100"}
        found = {each["id"] async for each in self._api.pages(api.JOBS, "", query)}
        self.given_up -= before - found
        return found - self.waited_for

    async def _may_add(self, job: str, list_id: str) -> bool:
        """Return whether an import is one into a list, as far as Klaviyo says."""
        answer = await self._api.call(api.JOB, job, query={"include": "lists"})
        if not answer.is_accepted:
            return True
        lists = (document_of(answer)["data"].get("relationships") or {}).get("lists") or {}
        known = lists.get("data")
        return not isinstance(known, list) or list_id in (each.get("id") for each in known)


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
