"""The members of a compiled audience, and its funnel, are those that a count of the raw events finds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from segops.core.audiences.compiling import ADDRESSES, definition_of, reach_of, steps_of
from segops.core.audiences.model import CHANNELS, Audience
from segops.core.scans import Estimator, draft_of
from segops.core.segments import SegmentSet
from segops.replay import Replay
from segops.schemas.segments import definition_from_record, definition_to_record
from segops.testing import definition

from .helpers import audience

SEGMENTS = [
    definition("at-risk", {"did": "Visited"}),
    definition("unsubscribed", {"trait": "news", "is": {"eq": False}}),
]
CONSENTS = [(), ("consent.{purpose}",), ("consent.{channel}",), ("consent.{purpose}", "consent.{channel}")]
_maybe = st.sampled_from([True, False, None, "yes"])
_traits = st.fixed_dictionaries(
    {},
    optional={
        "email": st.sampled_from(["OWN", None]),
        "phone": st.sampled_from(["+33 1", None]),
        "consent": st.one_of(
            st.none(),
            st.fixed_dictionaries({}, optional={"marketing": _maybe, "email": _maybe, "sms": _maybe}),
        ),
        "news": _maybe,
        "bounced": _maybe,
    },
)
_events = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.one_of(st.none(), _traits),
        st.sampled_from(["", "phone", "device_id", "push_token"]),
    ),
    max_size=30,
)
_audiences = st.builds(
    lambda channel, suppress, percent: audience(
        channel=channel,
        suppress=suppress or None,
        hold_out=None if percent is None else {"salt": "s", "percent": percent},
    ),
    st.sampled_from(CHANNELS),
    st.lists(st.sampled_from(["unsubscribed", "trait.bounced"]), unique=True),
    st.one_of(st.none(), st.integers(1, 9_999).map(lambda share: share / 100)),
)


class Customer:
    """What the raw events say of one person."""

    def __init__(self, profile_id: str) -> None:
        self.id = profile_id
        self.visited = False
        self.traits: dict[str, Any] = {}
        self.identifiers: set[str] = set()

    def take(self, traits: Mapping[str, Any] | None, identifier: str) -> None:
        if traits is None:
            self.visited = True
        for name, value in (traits or {}).items():
            self.traits[name] = value
        if identifier:
            self.identifiers.add(identifier)

    @property
    def reachable_by(self) -> set[str]:
        email = self.traits.get("email") is not None
        phone = self.traits.get("phone") is not None or "phone" in self.identifiers
        push = bool(self.identifiers & {"device_id", "push_token"})
        holds = {"email": email, "sms": phone, "push": push, "ads": email or phone, "webhook": True}
        return {channel for channel, reachable in holds.items() if reachable}

    @property
    def bucket(self) -> float:
        hashed = hashlib.sha256(f"s:{self.id}".encode()).digest()
        return int.from_bytes(hashed[:8], "big") % 10_000 / 100

    def stays(self, step: str, of: Audience, consent: tuple[str, ...]) -> bool:
        """Return whether one step of the funnel leaves the person in."""
        given_ = self.traits.get("consent") or {}
        names = [{"{purpose}": "marketing", "{channel}": of.channel}[each.split(".")[1]] for each in consent]
        out = {
            "unsubscribed": self.traits.get("news") is False,
            "trait.bounced": self.traits.get("bounced") is True,
        }
        return {
            "segment": self.visited,
            "address": of.channel in self.reachable_by,
            "consent": all(given_.get(name) is True for name in names),
            "suppressions": not any(out[each] for each in of.suppress),
            "hold-out": of.hold_out is None or self.bucket >= of.hold_out.share / 100,
        }[step]


def _sent(number: int, of: int, traits: dict[str, Any] | None, identifier: str) -> bytes:
    context = {"externalIds": [{"type": identifier, "id": f"{identifier}-{of}", "collection": "users"}]}
    email = {"email": f"u{of}@shop.example"} if (traits or {}).get("email") == "OWN" else {}
    event = {
        "type": "track" if traits is None else "identify",
        "userId": f"u{of}",
        "messageId": f"m{number}",
        "timestamp": f"2026-03-01T10:00:{number:02}Z",
        **({"event": "Visited"} if traits is None else {"traits": {**traits, **email}}),
        **({"context": context} if identifier else {}),
    }
    return json.dumps(event).encode()


@given(_audiences, _events, st.sampled_from(CONSENTS))
def test_members_and_funnel_are_those_of_an_independent_count(
    found: Audience, events: list[tuple[int, dict[str, Any] | None, str]], consent: tuple[str, ...]
) -> None:
    own = definition_from_record(definition_to_record(definition_of(found, consent)))
    assert own is not None
    segments = SegmentSet([*SEGMENTS, own])
    replay, people = Replay(segments, wall_ms=1_800_000_000_000), {}
    for number, (of, traits, identifier) in enumerate(events):
        for _ in replay.feed(_sent(number, of, traits, identifier), default_id=""):
            pass
        profile_id = f"user_id:u{of}"
        people.setdefault(profile_id, Customer(profile_id)).take(traits, identifier)
    left, counts = list(people.values()), []
    for step in steps_of(found, consent):
        left = [each for each in left if each.stays(step, found, consent)]
        counts.append((step, len(left)))
    profiles = [each for each in replay.profiles.values() if each.merged_into is None and each.id in people]
    assert {each.id for each in profiles if own.key in each.members} == {each.id for each in left}
    estimator = Estimator(draft_of(own.key, [own], segments), funnel=True)
    for profile in profiles:
        estimator.visit(profile, replay.clock_ms or 0)
    reach = reach_of(found, own, consent, estimator.result(), between_ms=(1, 2), unreadable=0)
    assert [(each.name, each.left) for each in reach.steps] == counts
    assert (reach.members, reach.profiles, reach.failed) == (len(left), len(people), 0)


def test_every_channel_has_an_address_and_other_consent_leaves_the_members() -> None:
    assert tuple(ADDRESSES) == CHANNELS
    found = audience()
    own = definition_of(found, ("consent.{purpose}",))
    estimator = Estimator(draft_of(own.key, [own], SegmentSet([*SEGMENTS, own])), funnel=True)
    reach = reach_of(found, own, ("consent.{channel}",), estimator.result(), between_ms=(1, 2), unreadable=0)
    assert [each.name for each in reach.steps] == ["members"]
