"""One profile per person, over a network with delays, duplicates and crashes."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import pytest

from segops.core.engine import Engine
from segops.core.events import Event
from segops.core.features import reducer_of
from segops.core.identifiers import Rules, aliases_of
from segops.core.profile import Profile
from segops.testing import segments

from .helpers import MONDAY as T
from .helpers import H, S
from .network import Network

SEGMENTS = segments(
    all_time={"did": "A", "count": {"gte": 4}},
    spent={"sum": "p", "of": "A", "is": {"gte": 10}},
    recent={"did": ["A", "B"], "count": {"gte": 3}, "within": "1h"},
    quiet={"did_not": "A", "within": "1h"},
    kinds={"distinct": "p", "of": "B", "is": {"gte": 2}},
    today={"did": "A", "count": {"gte": 2}, "calendar": {"this": "day"}},
    path={"sequence": [{"did": "A"}, {"did": "B", "within": "2h"}]},
    gold={"trait": "plan", "is": {"eq": "gold"}},
    mean={"avg": "p", "of": "B", "is": {"gt": 2}, "within": "2h"},
)
ENGINE = Engine(SEGMENTS)


class People:
    """Random events of random people, with strictly increasing times."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.removing = random.Random(seed)
        self.time_ms = T
        self.number = 0

    def event(self, **identifiers: str) -> Event:
        self.number += 1
        self.time_ms += self.random.choice([1, 5 * S, 60 * S, H, 9 * H])
        name = self.random.choice("AAB")
        traits = self.random.choice([None, None, {"plan": "gold"}, {"plan": None}])
        properties = {"p": self.random.choice([0.5, 1, 3, 7])}
        if "previous_id" in identifiers:
            name = "alias"
        event = Event(name, self.time_ms, f"m{self.number}", properties, traits, **identifiers)
        event.email_removed = event.email is None and self.removing.random() < 0.1
        return event

    def profile_events(self, number: int, *, known: bool, mailed: bool) -> list[Event]:
        """Return the events of a few devices, each with events before and after it is identified."""
        me: dict[str, str] = {"user_id": f"u{number}"} if known else {}
        mail = {"email": f"p{number}@x"} if mailed else {}
        found: list[Event] = []
        for device in range(self.random.randint(1, 4)):
            here = {"anonymous_id": f"a{number}-{device}"}
            found += [self.event(**here) for _ in range(self.random.randint(0, 3))]
            found += [self.event(**here, **me, **mail) for _ in range(self.random.randint(1, 2))]
            found += [self.event(**here) for _ in range(self.random.randint(0, 2))]
        found += [self.event(**mail) for _ in range(self.random.randint(0, 2)) if mail]
        found += [self.event(**me) for _ in range(self.random.randint(0, 2)) if me]
        return found

    def crowd(self, size: int) -> list[Event]:
        events: list[Event] = []
        for number in range(size):
            known = self.random.random() < 0.6
            events += self.profile_events(number, known=known, mailed=not known or self.random.random() < 0.5)
        return events


def components(events: Iterable[Event]) -> list[set[str]]:
    """Return the identifiers of each person, derived from the events alone."""
    found: list[set[str]] = []
    for event in events:
        mine = {*Rules().identifiers_of(event), *aliases_of(event)}
        joined = [group for group in found if group & mine]
        found = [group for group in found if not group & mine] + [mine.union(*joined)]
    return found


def replayed(profile_id: str, events: Iterable[Event], clock_ms: int) -> Profile:
    profile = ENGINE.new_profile(profile_id)
    for event in sorted(events, key=lambda event: event.time_ms):
        ENGINE.on_event(profile, event, clock_ms=-(10**14))
    ENGINE.on_timer(profile, clock_ms=clock_ms)
    return profile


def reads(profile: Profile, now_ms: int) -> list[Any]:
    pairs = ((feature, profile.features.get(key)) for key, feature in SEGMENTS.features.items())
    return [reducer_of(feature).read(state, now_ms) for feature, state in pairs]


def assert_equal_profiles(profile: Profile, single: Profile, clock_ms: int) -> None:
    assert reads(profile, clock_ms) == reads(single, clock_ms)
    assert reads(profile, clock_ms + H) == reads(single, clock_ms + H)
    assert (profile.members.keys(), profile.flips) == (single.members.keys(), single.flips)
    assert (profile.traits, profile.first_ms) == (single.traits, single.first_ms)
    assert named(profile) == named(single)


def named(profile: Profile) -> tuple[str | None, ...]:
    """Return the identifiers that a change carries."""
    return profile.user_id, profile.anonymous_id, profile.email


def assert_changes_are_consistent(network: Network) -> None:
    """Assert gapless sequences of alternating entries and exits that end in the stored memberships."""
    members: set[tuple[str, str]] = set()
    sequences: dict[str, int] = {}
    for (profile_id, sequence), change in sorted(network.published.items()):
        # Each split skips one sequence number of the profile that is split off.
        assert 0 < sequence - sequences.get(profile_id, 0) <= 1 + network.counts["split"]
        sequences[profile_id] = sequence
        key = (profile_id, change.segment_key)
        assert change.member is (key not in members)
        members ^= {key}
        assert (change.merged_into is None) or (change.reason == "merge" and not change.member)
    held = {(p.id, key) for p in network.profiles.values() if p.merged_into is None for key in p.members}
    assert members == held


def assert_at_rest(network: Network) -> None:
    """Assert that nothing waits, no message was dropped, and each redirect's target owns it."""
    assert network.counts["gave_up"] == 0
    for key, profile in network.profiles.items():
        links = profile.links
        assert links is None or not (links.pending or links.held or links.sources or links.waiting)
        if profile.merged_into is not None:
            root = network.profile(key)
            assert root.links is not None and key in root.links.owned
    assert_changes_are_consistent(network)


def settle(network: Network, events: list[Event]) -> int:
    """Process all events, advance the clock past them, and return it."""
    network.run(events)
    clock_ms = max((event.time_ms for event in events), default=T) + S
    network.tick(clock_ms)
    network.run()
    return clock_ms


def shuffled(events: list[Event], seed: int) -> list[Event]:
    return random.Random(seed).sample(events, len(events))


@pytest.mark.parametrize("seed", range(60))
def test_without_conflicts_every_order_yields_the_same_profiles(seed: int) -> None:
    events = People(seed).crowd(4)
    order = events if seed % 3 == 0 else shuffled(events, seed)
    network = Network(SEGMENTS, partitions=1 + seed % 5, seed=seed, fault_rate=0.05 * (seed % 4))
    clock_ms = settle(network, order)
    assert_at_rest(network)
    assert not network.counts.keys() & {"conflict", "limit", "overflow", "unheld"}
    for group in components(events):
        root = min(group, key=Rules().rank)
        assert {network.root(identifier) for identifier in group} == {root}
        mine = [event for event in events if Rules().identifiers_of(event)[0] in group]
        assert_equal_profiles(network.profile(root), replayed(root, mine, clock_ms), clock_ms)


def assert_owners(network: Network, events: list[Event], clock_ms: int) -> None:
    """Assert one owner per identifier, and each event counted once, in its owner's profile."""
    assert_at_rest(network)
    roots = {key: p for key, p in network.profiles.items() if p.merged_into is None}
    owned = [each for p in roots.values() for each in (p.links.owned if p.links else [p.id])]
    assert sorted(owned) == sorted(network.profiles.keys())
    for key, profile in roots.items():
        mine = [event for event in events if network.root(Rules().identifiers_of(event)[0]) == key]
        if mine:
            assert_equal_profiles(profile, replayed(key, mine, clock_ms), clock_ms)


def assert_never_merged(network: Network, events: list[Event]) -> None:
    """Assert that two users share a profile exactly if aliases connect them."""
    aliases = [
        {f"user_id:{event.user_id}", f"user_id:{event.previous_id}"}
        for event in events
        if event.previous_id is not None
    ]
    users = {f"user_id:{event.user_id}" for event in events if event.user_id is not None}.union(*aliases)
    for user in users:
        same = {other for other in users if network.root(other) == network.root(user)}
        known = {user}
        for _ in aliases:
            known = known.union(*(pair for pair in aliases if pair & known))
        assert same == known


@pytest.mark.parametrize("seed", range(120))
def test_conflicts_merge_no_separate_users(seed: int) -> None:
    people = People(seed)
    draw = people.random
    events = []
    for _ in range(draw.randint(5, 30)):
        who = {"anonymous_id": f"a{draw.randrange(4)}"} if draw.random() < 0.7 else {}
        who |= {"email": f"e{draw.randrange(3)}@x"} if draw.random() < 0.4 else {}
        who |= {"user_id": f"u{draw.randrange(4)}"} if draw.random() < 0.5 or not who else {}
        if "user_id" in who and draw.random() < 0.2:
            who["previous_id"] = draw.choice(["u0", "u1", "u2", "u3", "a0", "a1"])
        events.append(people.event(**who))
    rules = Rules(default_limit=1 + seed % 3)
    network = Network(SEGMENTS, partitions=1 + seed % 6, seed=seed, fault_rate=0.05 * (seed % 4), rules=rules)
    clock_ms = settle(network, shuffled(events, seed))
    assert_owners(network, events, clock_ms)
    assert_never_merged(network, events)


@pytest.mark.parametrize("seed", range(120))
def test_concurrent_and_cyclic_aliases_yield_one_profile(seed: int) -> None:
    people = People(seed)
    draw = people.random
    size = draw.randint(2, 6)
    circle = draw.sample(range(size), size)
    pairs = [(circle[at], circle[at - 1]) for at in range(size)]
    pairs += [tuple(draw.sample(range(size), 2)) for _ in range(draw.randint(0, 4))]
    events = [people.event(user_id=f"u{b}", previous_id=f"u{a}") for a, b in pairs]
    events += [
        people.event(user_id=f"u{draw.randrange(size)}", anonymous_id=f"a{draw.randrange(3)}")
        for _ in range(draw.randint(0, 6))
    ]
    network = Network(SEGMENTS, partitions=1 + seed % 6, seed=seed, fault_rate=0.05 * (seed % 4))
    clock_ms = settle(network, shuffled(events, seed))
    assert_owners(network, events, clock_ms)
    assert len({network.root(f"user_id:u{number}") for number in range(size)}) == 1
    assert network.hops < 4 * size
