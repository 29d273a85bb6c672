"""A profile as a page: who it is, what it knows, and in which segments it is, and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from segops.api.health import Page
from segops.core.explain import Explanation, explain
from segops.core.profile import Profile
from segops.core.segments import SegmentSet

_JSON = "application/json"


class Identifier(msgspec.Struct, frozen=True):
    """One identifier of a profile. ``origin``: how it came to be one.

    ``id``: the profile is named by it; ``merged``: a profile of its own, taken over; ``met``: nothing was
    known under it; ``claimed``: its owner has not answered yet.
    """

    identifier: str
    origin: str


class View(msgspec.Struct, frozen=True):
    """A profile as its owner has it at ``now_ms``, the clock of its partition. ``refused`` are others'."""

    profile_id: str
    now_ms: int
    first_ms: int | None
    latest_ms: int | None
    identifiers: list[Identifier]
    refused: list[str]
    traits: dict[str, Any]
    explanation: Explanation


def view(profile: Profile, segments: SegmentSet, now_ms: int) -> View:
    """What is to be seen of a profile that ``segments`` have judged."""
    links, known = profile.links, profile.first_ms is not None
    return View(
        profile.id,
        now_ms,
        profile.first_ms,
        profile.latest_ms if known else None,
        list(_identifiers(profile)),
        list(links.refused) if links is not None else [],
        profile.traits,
        explain(segments, profile, max(now_ms, profile.latest_ms)),
    )


def _identifiers(profile: Profile) -> Iterator[Identifier]:
    yield Identifier(profile.id, "id")
    if profile.links is None:
        return
    for each in profile.links.owned:
        if each != profile.id:
            yield Identifier(each, "merged" if each in profile.links.absorbed else "met")
    for each in profile.links.pending:
        yield Identifier(each, "claimed")


def profile_page(found: View) -> Page:
    """The page of a profile."""
    return Page(200, msgspec.json.encode(found), _JSON)


def elsewhere(address: str) -> Page:
    """It is to be found there."""
    return Page(307, b"elsewhere\n", location=address)


def refusal(status: int, why: str) -> Page:
    """There is none, and why."""
    return Page(status, f"{why}\n".encode())


def decode_view(body: bytes) -> View:
    """The view of a page. Raises msgspec.MsgspecError for anything else."""
    return msgspec.json.decode(body, type=View)
