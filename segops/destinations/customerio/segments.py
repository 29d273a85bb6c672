"""Manual segments: people are added and removed, and looked for afterwards.

Sources: Customer.io's OpenAPI documents, "Add people to a manual segment" (at most 1,000, who must exist:
others are ignored), "Search for customers" and "List customers in a segment". Customer.io answers before it
has carried out a request: someone who was created just now may be ignored.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from segops.destinations.customerio import api
from segops.destinations.customerio.api import CustomerIoApi
from segops.destinations.customerio.bodies import inside
from segops.destinations.port import DestinationRefuses, Later, Outcome

MAX_PEOPLE: Final = 1_000
#: How long people are waited for, each time before they are looked for.
POLLS_S: Sequence[float] = (0.5, 1.0, 2.0, 4.0)
_LATER_S: Final = 300.0
_LOOK_UP: Final = 100
_SEARCH_PAGE: Final = 1_000
_MEMBERS_PAGE: Final = 30_000
_MANUAL: Final = "manual"


class Segments:
    """The manual segments of one workspace. ``field``: what people are known by, ``id`` or ``email``."""

    def __init__(self, workspace: CustomerIoApi, field: str) -> None:
        self._api = workspace
        self._field = field
        #: Segments that were found to be manual: Customer.io alone decides who is in the others.
        self._manual: set[int] = set()

    async def keep(self, segment: int, addresses: Sequence[str], *, member: bool) -> dict[str, Outcome]:
        """Add people to a segment, or remove them; return those of whom it is not seen afterwards.

        Without a key of the App API, nothing is seen, and all are taken to be added or removed.
        """
        left = addresses
        for pause_s in POLLS_S:
            if not left:
                break
            await self._change(segment, left, member=member)
            if not self._api.reads:
                return {}
            await asyncio.sleep(pause_s)
            found = await self._inside(segment, left)
            left = [each for each in left if (each in found) is not member]
        if left:
            self._manual.discard(segment)
            await self.require_manual(segment)
        reason = f"not seen {'in' if member else 'outside of'} the segment {segment} yet"
        return {each: Later(reason, _LATER_S) for each in left}

    async def _change(self, segment: int, addresses: Sequence[str], *, member: bool) -> None:
        endpoint = api.ADD if member else api.REMOVE
        answer = await self._api.call(endpoint, segment, query=self.query, body={"ids": [*addresses]})
        if not answer.is_accepted:
            # People are ignored, and never refused: the request is, as a whole.
            raise DestinationRefuses(f"the segment {segment}: {answer.detail}")

    @property
    def query(self) -> Mapping[str, str]:
        """Say what the ids of people are."""
        return {"id_type": self._field}

    async def require_manual(self, segment: int) -> None:
        """Raise DestinationRefuses unless the workspace has this manual segment, if that can be read."""
        if segment in self._manual or not self._api.reads:
            return
        if (problem := await self.problem_of(segment)) is not None:
            raise DestinationRefuses(problem)
        self._manual.add(segment)

    async def problem_of(self, segment: int) -> str | None:
        """Return why people cannot be added to a segment; None if they can."""
        listed = (await self._api.read(api.SEGMENTS))["segments"]
        found = next((each["type"] for each in listed if each["id"] == segment), None)
        if found is None:
            return f"the segment {segment} does not exist"
        return None if found == _MANUAL else f"the segment {segment}: expected a manual one, got type {found}"

    async def _inside(self, segment: int, addresses: Sequence[str]) -> set[str]:
        """Return those of some addresses that are in a segment."""
        found: set[str] = set()
        for start in range(0, len(addresses), _LOOK_UP):
            body = inside(segment, self._field, addresses[start : start + _LOOK_UP])
            found |= {each async for each in self._pages(api.SEARCH, 0, _SEARCH_PAGE, body)}
        return found

    def members(self, segment: int) -> AsyncIterator[str]:
        """Return the addresses in a segment."""
        return self._pages(api.MEMBERS, segment, _MEMBERS_PAGE, None)

    async def _pages(
        self, endpoint: api.Endpoint, of: int, limit: int, body: Mapping[str, Any] | None
    ) -> AsyncIterator[str]:
        start: Mapping[str, str] = {}
        while True:
            document = await self._api.read(endpoint, of, query={"limit": str(limit), **start}, body=body)
            for each in document["identifiers"]:
                if address := each.get(self._field):
                    yield address.lower() if self._field == "email" else address
            if not (following := document.get("next")):
                return
            start = {"start": following}
