"""The timeline of a person, from any identifier: every event and every change, in order of time."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from segops.core.events import Event
from segops.core.identifiers import Rules
from segops.core.messages import Erase, Forget
from segops.core.profile import Erasing
from segops.core.views.timeline import Timeline, TimelineChange, TimelineEvent

from .helpers import MONDAY as T
from .helpers import H, S
from .network import Network
from .test_identity import SEGMENTS, People, settle, shuffled
from .test_split import event, merged

#: When messages are written to their log, and changes published, unless a test says otherwise.
WRITTEN_MS = 1


def timeline_of(network: Network, identifier: str, erased_after: int = 0) -> Timeline:
    """Read the logs of a network. ``erased_after``: the number of changes published before the erasure."""
    found = Timeline(identifier)
    while wanted := found.unread():
        found.begin(wanted)
        for partition in network.partitions:
            for record in partition.log:
                if not isinstance(record, int) and record.to in wanted:
                    found.message(record.to, record, WRITTEN_MS)
    for number, change in enumerate(network.published.values()):
        if change.profile_id in found.ids:
            change.evaluated_at = WRITTEN_MS + (number >= erased_after)
            found.change(change)
    return found


def events_of(found: Timeline) -> list[str]:
    return [entry.message_id for entry in found.entries() if isinstance(entry, TimelineEvent)]


def changes_of(found: Timeline) -> list[tuple[str, str, str, int]]:
    return [
        (entry.profile_id, entry.segment_key, entry.action, entry.time_ms)
        for entry in found.entries()
        if isinstance(entry, TimelineChange)
    ]


def assert_timelines(network: Network, events: Iterable[Event]) -> None:
    """Assert that each identifier leads to the profile, events and changes that it is part of."""
    firsts = [(network.root(Rules().identifiers_of(each)[0]), each) for each in events]
    for identifier in network.profiles:
        root, found = network.root(identifier), timeline_of(network, identifier)
        assert found.profile_id == root
        mine = sorted((each.time_ms, each.message_id) for owner, each in firsts if owner == root)
        assert events_of(found) == [message_id for _, message_id in mine]
        published = [c for c in network.published.values() if network.root(c.profile_id) == root]
        assert sorted(changes_of(found)) == sorted(
            (c.profile_id, c.segment_key, c.action, c.occurred_at) for c in published
        )
        times = [entry.time_ms for entry in found.entries()]
        assert times == sorted(times)


@pytest.mark.parametrize("seed", range(30))
def test_each_identifier_leads_to_all_that_its_person_did(seed: int) -> None:
    events = People(seed).crowd(4)
    network = Network(SEGMENTS, partitions=1 + seed % 5, seed=seed, fault_rate=0.05 * (seed % 4))
    settle(network, events if seed % 3 == 0 else shuffled(events, seed))
    assert_timelines(network, events)


@pytest.mark.parametrize("seed", range(60))
def test_shared_devices_and_aliases_mix_no_persons(seed: int) -> None:
    people, events = People(seed), []
    draw = people.random
    for _ in range(draw.randint(5, 30)):
        who = {"anonymous_id": f"a{draw.randrange(4)}"} if draw.random() < 0.7 else {}
        who |= {"user_id": f"u{draw.randrange(4)}"} if draw.random() < 0.5 or not who else {}
        if "user_id" in who and draw.random() < 0.2:
            who["previous_id"] = draw.choice(["u0", "u1", "u2", "u3", "a0", "a1"])
        events.append(people.event(**who))
    network = Network(SEGMENTS, partitions=1 + seed % 6, seed=seed, fault_rate=0.05 * (seed % 4))
    settle(network, shuffled(events, seed))
    assert_timelines(network, events)


def test_a_split_off_profile_is_no_part_of_the_survivor() -> None:
    network = merged()
    both = [f"m{number}" for number in (0, 1, 2, 3, 10, 11, 20, 21, 22)]
    assert events_of(timeline_of(network, "anonymous_id:a")) == both
    assert events_of(timeline_of(network, "user_id:u")) == both
    network.split("anonymous_id:a")
    network.run()
    # What was relayed before the split stays with the survivor, as its features do.
    assert events_of(timeline_of(network, "user_id:u")) == ["m10", "m11", "m20", "m21", "m22"]
    split_off = timeline_of(network, "anonymous_id:a")
    assert split_off.profile_id == "anonymous_id:a"
    assert events_of(split_off) == ["m0", "m1", "m2", "m3", "m21"]


def test_nothing_from_before_an_erasure_is_listed() -> None:
    network = merged()
    network.send(-3, Erase("anonymous_id:a", Erasing("r")))
    network.run()
    before = len(network.published)
    assert before > 0
    for identifier in ("anonymous_id:a", "user_id:u"):
        assert timeline_of(network, identifier, before).entries() == []
    network.run([event(30 + n, T + H + n * S, user_id="u") for n in range(4)])
    found = timeline_of(network, "user_id:u", before)
    assert events_of(found) == ["m30", "m31", "m32", "m33"]
    assert [(key, action) for _, key, action, _ in changes_of(found)] == [
        ("today", "entered"),
        ("recent", "entered"),
        ("all-time", "entered"),
        ("spent", "entered"),
    ]


def test_a_redelivered_erasure_of_a_redirect_changes_nothing() -> None:
    network = merged()
    network.send(-3, Erase("user_id:u", Erasing("r")))
    network.run()
    forgets = [each for partition in network.partitions for each in partition.log if isinstance(each, Forget)]
    assert [each.to for each in forgets] == ["anonymous_id:a"]
    network.run([event(30, T + H, anonymous_id="a")])
    network.send(-3, forgets[0])
    network.run([event(31, T + H + S, anonymous_id="a")])
    assert events_of(timeline_of(network, "anonymous_id:a", len(network.published))) == ["m30", "m31"]


def test_events_precede_the_changes_of_the_same_instant() -> None:
    network = Network(SEGMENTS, partitions=2, seed=1)
    network.run([event(n, T + n * S, user_id="u") for n in range(3)])
    entries = timeline_of(network, "user_id:u").entries()
    last = [type(entry).__name__ for entry in entries if entry.time_ms == T + 2 * S]
    assert last[0] == "TimelineEvent"
    assert set(last[1:]) == {"TimelineChange"}
