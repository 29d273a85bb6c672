"""A merged profile can be split off again, exactly once, despite faults of the network."""

from __future__ import annotations

import random
from typing import Any

import pytest

from segops.core.events import Event
from segops.core.messages import Handover, Message, Split
from segops.core.profile import Profile
from segops.core.segments import SegmentSet

from .helpers import MONDAY as T
from .helpers import H, S
from .network import Network, copied
from .test_identity import (
    SEGMENTS,
    People,
    assert_at_rest,
    assert_changes_are_consistent,
    reads,
    replayed,
    settle,
)


class RetainingNetwork(Network):
    """A network that retains its handovers, as a topic does."""

    def __init__(self, segments: SegmentSet, **options: Any) -> None:
        super().__init__(segments, **options)
        self.handovers: dict[str, Handover] = {}

    def send(self, source: int, message: Message) -> None:
        if isinstance(message, Handover):
            known = self.handovers.get(message.source)
            if known is None or known.sequence <= message.sequence:
                self.handovers[message.source] = copied(message)  # type: ignore[assignment]
        super().send(source, message)

    def split(self, source: str) -> None:
        found = copied(self.handovers[source])
        assert isinstance(found, Handover)
        self.send(-3, Split(source, source, found.sequence, found.state))


def event(number: int, time_ms: int, name: str = "A", **identifiers: str) -> Event:
    return Event(name, time_ms, f"m{number}", {"p": 3}, **identifiers)


def merged(seed: int = 1, *, fault_rate: float = 0.0) -> RetainingNetwork:
    """Merge a device with four events into a user with two, then send one more event of each."""
    network = RetainingNetwork(SEGMENTS, partitions=4, seed=seed, fault_rate=fault_rate)
    network.run([event(n, T + n * S, anonymous_id="a") for n in range(4)])
    network.run([event(10 + n, T + 10 * S + n, user_id="u") for n in range(2)])
    network.run([event(20, T + 20 * S, user_id="u", anonymous_id="a")])
    network.run([event(21, T + 21 * S, anonymous_id="a"), event(22, T + 22 * S, user_id="u")])
    return network


def alone(profile: Profile, network: Network) -> None:
    assert profile.merged_into is None
    assert_at_rest(network)


@pytest.mark.parametrize("seed", range(5))
def test_source_is_restored_as_handed_over_and_later_events_stay(seed: int) -> None:
    network = merged(seed, fault_rate=0.1)
    before = network.profile("user_id:u")
    had = reads(before, T + H)
    network.split("anonymous_id:a")
    network.run()
    device, user = network.profile("anonymous_id:a"), network.profile("user_id:u")
    wanted = replayed("anonymous_id:a", [event(n, T + n * S, anonymous_id="a") for n in range(4)], T)
    assert device.id == "anonymous_id:a" and reads(device, T + H) == reads(wanted, T + H)
    assert reads(user, T + H) == had
    assert user.links is not None and user.links.owned == ["user_id:u"]
    assert device.members.keys() == wanted.members.keys()
    assert_at_rest(network)


def test_memberships_of_the_source_are_entered_with_reason_split_and_their_former_start() -> None:
    network = merged()
    network.split("anonymous_id:a")
    network.run()
    device = network.profile("anonymous_id:a")
    changes = [c for (who, _), c in sorted(network.published.items()) if who == device.id]
    entered = {c.segment_key for c in changes if c.reason == "split"}
    assert entered == device.members.keys() >= {"all-time", "spent", "recent"}
    assert all(c.member for c in changes if c.reason == "split")
    assert device.members["all-time"].since_ms == T + 3 * S
    assert {c.segment_key for c in changes if c.reason == "merge"} == entered


def test_split_profiles_stay_separate_without_an_explicit_alias() -> None:
    network = merged()
    network.split("anonymous_id:a")
    network.run()
    network.run([event(30, T + 30 * S, user_id="u", anonymous_id="a")])
    network.run(
        [event(31, T + 31 * S, anonymous_id="a"), event(32, T + 32 * S, user_id="u", others=("c:1",))]
    )
    network.run([event(33, T + 33 * S, anonymous_id="a", others=("c:1",))])
    assert network.root("anonymous_id:a") == "anonymous_id:a"
    assert network.root("c:1") == "user_id:u"
    assert_at_rest(network)


def test_split_users_are_merged_again_by_an_alias() -> None:
    network = RetainingNetwork(SEGMENTS, partitions=4, seed=1)
    network.run([event(1, T, user_id="v", anonymous_id="b"), event(2, T + S, user_id="w")])
    network.run([Event("alias", T + 2 * S, "m3", {}, user_id="w", previous_id="v")])
    assert network.root("anonymous_id:b") == "user_id:w"
    network.split("user_id:v")
    network.run()
    assert network.root("anonymous_id:b") == network.root("user_id:v") == "user_id:v"
    network.run([Event("alias", T + 4 * S, "m4", {}, user_id="w", previous_id="v")])
    assert network.root("anonymous_id:b") == network.root("user_id:v") == "user_id:w"
    assert_at_rest(network)


def test_identifier_without_history_is_released_by_a_split() -> None:
    network = RetainingNetwork(SEGMENTS, partitions=4, seed=1)
    network.run([event(1, T, user_id="u", anonymous_id="a")])
    network.split("anonymous_id:a")
    network.run([event(2, T + S, user_id="v", anonymous_id="a")])
    assert network.root("anonymous_id:a") == "user_id:v"
    assert_at_rest(network)


def test_profile_of_a_merge_chain_is_split_from_its_current_owner() -> None:
    network = RetainingNetwork(SEGMENTS, partitions=4, seed=1)
    network.run([event(1, T, anonymous_id="a"), event(2, T + S, email="e@x", anonymous_id="a")])
    network.run([event(3, T + 2 * S, user_id="u", email="e@x")])
    network.split("anonymous_id:a")
    network.run()
    assert network.root("anonymous_id:a") == "anonymous_id:a"
    assert network.root("email:e@x") == "user_id:u"
    assert_at_rest(network)
    network.split("email:e@x")
    network.run()
    assert network.root("email:e@x") == "email:e@x"
    assert_changes_are_consistent(network)


def test_split_of_a_foreign_identifier_is_refused() -> None:
    network = merged()
    for message in (
        Split("user_id:u", "user_id:u"),
        Split("user_id:u", "anonymous_id:b", 3, Profile("anonymous_id:b")),
        Split("anonymous_id:a", "anonymous_id:a", 0, None),
        Split("anonymous_id:a", "anonymous_id:a", 99, Profile("anonymous_id:a")),
    ):
        profile = network.profile(message.to)
        result = network.identity.on_message(profile, message, clock_ms=T + H)
        assert [each.reason for each in result.not_merged] == ["split"]
        assert not result.moved and not result.messages
    network.run()
    assert network.root("anonymous_id:a") == "user_id:u"


def test_split_waits_for_pending_claims() -> None:
    network = merged()
    for partition in network.partitions:
        partition.checkpoint()
    user = network.profile("user_id:u")
    result = network.identity.on_message(
        user, message := Split("user_id:u", "anonymous_id:a", 0, None), clock_ms=T + H
    )
    assert not result.moved
    claimed = network.identity.on_event(user, event(40, T + 40 * S, user_id="u", email="n@x"), clock_ms=T)
    handover = network.handovers["anonymous_id:a"]
    message = Split("user_id:u", handover.source, handover.sequence, copied(handover).state)  # type: ignore[union-attr]
    assert not network.identity.on_message(user, message, clock_ms=T + H).messages
    for each in claimed.messages:
        network.send(network.partition_of(user.id), each)
    network.run()
    assert network.root("anonymous_id:a") == "anonymous_id:a"
    assert network.root("email:n@x") == "user_id:u"
    assert_at_rest(network)


@pytest.mark.parametrize("seed", range(60))
def test_random_splits_with_crashes_and_duplicates_leave_a_consistent_state(seed: int) -> None:
    people, dice = People(seed), random.Random(seed)
    network = RetainingNetwork(SEGMENTS, partitions=1 + seed % 5, seed=seed, fault_rate=0.05 * (seed % 3))
    for _ in range(3):
        settle(network, people.crowd(3))
        for source in dice.sample(sorted(network.handovers), min(4, len(network.handovers))):
            for _ in range(dice.choice((1, 1, 2))):
                network.split(source)
    network.run()
    assert_at_rest(network)
    for key, profile in network.profiles.items():
        for owned in profile.links.owned if profile.links and profile.merged_into is None else ():
            assert network.root(owned) == key


@pytest.mark.parametrize("seed", range(20))
def test_full_profile_returns_a_handover(seed: int) -> None:
    network = RetainingNetwork(SEGMENTS, partitions=1 + seed % 4, seed=seed, fault_rate=0.1)
    plain = network.identity.on_message

    def full(profile: Profile, message: Message, *, clock_ms: int) -> Any:
        return plain(profile, message, clock_ms=clock_ms, full=True)

    network.identity.on_message = full  # type: ignore[method-assign]
    events = [event(n, T + n * S, anonymous_id="a") for n in range(4)]
    network.run([*events, event(10, T + 10 * S, user_id="u")])
    network.run([event(20, T + 20 * S, user_id="u", anonymous_id="a")])
    network.run(
        [event(21, T + 21 * S, anonymous_id="a"), event(22, T + 22 * S, user_id="u", anonymous_id="a")]
    )
    assert network.root("anonymous_id:a") == "anonymous_id:a"
    counted = [reads(network.profile(each), T + H)[0] for each in ("anonymous_id:a", "user_id:u")]
    wanted = [
        replayed("x", each, T)
        for each in ([*events, event(21, T + 21 * S)], [event(n, T) for n in (10, 20, 22)])
    ]
    assert counted == [reads(each, T + H)[0] for each in wanted]
    assert network.counts["returned"] >= 1
    assert_at_rest(network)
