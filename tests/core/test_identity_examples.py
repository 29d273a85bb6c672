"""The identity protocol by examples: claims, handovers, held events, and the changes of a merge."""

from __future__ import annotations

from typing import Any

import pytest

from segops.core.engine import Engine, message_hash
from segops.core.events import Event
from segops.core.identifiers import Rules
from segops.core.identity import protocol as identity
from segops.core.identity.protocol import Identity
from segops.core.links import begin_waiting
from segops.core.messages import Claim, Forward, Handover, MergeRequest, Refused, Split
from segops.core.profile import Profile
from segops.core.step import StepResult
from segops.schemas.state import decode_profile, encode_profile
from segops.testing import segments

from .helpers import MONDAY as T
from .helpers import H, S
from .network import Network, copied
from .test_identity import ENGINE, SEGMENTS, assert_at_rest, reads, replayed


def quiet_network(seed: int = 1) -> Network:
    return Network(SEGMENTS, partitions=4, seed=seed)


def event(number: int, time_ms: int, name: str = "A", **identifiers: str) -> Event:
    return Event(name, time_ms, f"m{number}", {"p": 1}, **identifiers)


def alias(number: int, time_ms: int, *, user: str, was: str) -> Event:
    return event(number, time_ms, "alias", user_id=user, previous_id=was)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("names", ["abc", "acb", "bac", "bca", "cab", "cba"])
def test_alias_chain_ends_in_the_last_user(names: str, seed: int) -> None:
    first, second, third = names
    network = quiet_network(seed)
    network.run([event(1, T, user_id=first), event(2, T + 1, user_id=second), event(3, T + 2, user_id=third)])
    network.run([alias(4, T + 3, user=second, was=first), alias(5, T + 4, user=third, was=second)])
    assert {network.root(f"user_id:{name}") for name in names} == {f"user_id:{third}"}
    assert_at_rest(network)


@pytest.mark.parametrize("seed", range(10))
def test_users_that_claim_each_other_concurrently_become_the_lesser_one(seed: int) -> None:
    network = quiet_network(seed)
    for each in (alias(1, T, user="a", was="b"), alias(2, T, user="b", was="a")):
        network.partitions[network.partition_of(f"user_id:{each.user_id}")].log.append(
            Forward(f"user_id:{each.user_id}", each)
        )
    network.run()
    assert {network.root("user_id:a"), network.root("user_id:b")} <= {"user_id:a", "user_id:b"}
    assert network.root("user_id:a") == network.root("user_id:b")
    assert_at_rest(network)


def test_new_anonymous_id_after_logout_belongs_to_the_same_profile() -> None:
    network = quiet_network()
    before = [event(1, T, anonymous_id="a1"), event(2, T + 1, anonymous_id="a1", user_id="u")]
    after = [event(3, T + 2, anonymous_id="a2"), event(4, T + 3, anonymous_id="a2", user_id="u")]
    for each in (*before, *after):
        network.run([each])
    assert network.root("anonymous_id:a1") == network.root("anonymous_id:a2") == "user_id:u"
    assert reads(network.profile("user_id:u"), T + S) == reads(
        replayed("user_id:u", [*before, *after], T), T + S
    )


def test_shared_device_stays_with_its_first_user() -> None:
    network = quiet_network()
    network.run([event(1, T, anonymous_id="shop", user_id="u1")])
    network.run([event(2, T + 1, anonymous_id="shop", user_id="u2"), event(3, T + 2, anonymous_id="shop")])
    assert network.root("anonymous_id:shop") == "user_id:u1"
    assert network.profile("user_id:u2").first_ms == T + 1
    assert network.profile("user_id:u1").latest_ms == T + 2
    assert network.counts["conflict"] == 1
    network.run([event(4, T + 3, anonymous_id="shop", user_id="u2")])
    assert network.counts["conflict"] == 1, "a refused identifier is not claimed again"


def test_user_owns_no_more_devices_than_the_limit() -> None:
    network = quiet_network()
    for number in range(7):
        network.run([event(number, T + number, anonymous_id=f"a{number}", user_id="u")])
    assert network.counts["limit"] == 2
    assert [network.root(f"anonymous_id:a{n}") for n in (4, 5)] == ["user_id:u", "anonymous_id:a5"]


class Alone:
    """One profile and its protocol; the test sends the answers to its claims."""

    def __init__(self, profile_id: str = "user_id:u") -> None:
        self.identity = Identity(ENGINE)
        self.profile = ENGINE.new_profile(profile_id)

    def get(self, message: Any, clock_ms: int = T) -> StepResult:
        return self.identity.on_message(self.profile, copied(message), clock_ms=clock_ms)

    def did(self, event: Event, clock_ms: int = T) -> StepResult:
        return self.identity.on_event(self.profile, event, clock_ms=clock_ms)


def test_held_events_are_evaluated_as_if_the_answer_had_been_there() -> None:
    alone = Alone()
    first = alone.did(event(1, T, user_id="u", anonymous_id="a"), T)
    assert first.messages == [Claim("anonymous_id:a", "anonymous_id:a", "user_id:u", at_ms=T)]
    assert alone.did(event(2, T + S, user_id="u"), T + S) == StepResult()
    assert alone.identity.on_timer(alone.profile, clock_ms=T + 5 * H) == StepResult()
    device = replayed("anonymous_id:a", [event(3, T - S, anonymous_id="a")], T + 2 * H)
    result = alone.get(Handover("user_id:u", "anonymous_id:a", device.id, 1, device), T + 5 * H)
    seen = [(c.action, c.segment_key, c.occurred_at, c.reason, c.event_id) for c in result.changes]
    assert seen == [
        ("entered", "recent", T + S, "event", "m2"),
        ("entered", "today", T + S, "event", "m2"),
        ("exited", "recent", T + H - S, "time", None),
        ("entered", "quiet", T + S + H, "time", None),
    ]


def test_time_of_a_waiting_profile_does_not_advance() -> None:
    alone = Alone()
    alone.did(event(1, T, user_id="u"), T)
    alone.did(event(2, T + S, user_id="u", anonymous_id="a"), T + S)
    assert alone.identity.on_timer(alone.profile, clock_ms=T + 2 * H) == StepResult()
    assert alone.profile.due_ms == T + H
    answered = alone.get(Refused("user_id:u", "anonymous_id:a", "user_id:v"), T + 2 * H)
    seen = [(c.action, c.segment_key, c.occurred_at) for c in answered.changes]
    assert seen == [("entered", "today", T + S), ("entered", "quiet", T + S + H)]


def test_refusal_releases_held_events() -> None:
    alone = Alone()
    alone.did(event(1, T, user_id="u", anonymous_id="a"))
    alone.did(event(2, T, user_id="u", anonymous_id="b"))
    assert not alone.get(Refused("user_id:u", "anonymous_id:a", "user_id:v")).changes
    assert alone.profile.first_ms is None
    alone.get(Refused("user_id:u", "anonymous_id:b", "user_id:v"))
    assert len(alone.profile.seen) == 2
    assert not alone.did(event(3, T, user_id="u", anonymous_id="a")).messages


def test_refusal_does_not_answer_a_later_explicit_claim() -> None:
    alone = Alone()
    alone.did(event(1, T, user_id="u", anonymous_id="a"))
    begin_waiting(alone.profile, "anonymous_id:a", explicit=True, clock_ms=T)
    begin_waiting(alone.profile, "anonymous_id:a", explicit=False, clock_ms=T)
    alone.get(Refused("user_id:u", "anonymous_id:a", "user_id:v"))
    assert alone.profile.first_ms is None


def test_duplicate_handover_adds_nothing() -> None:
    alone = Alone()
    alone.did(event(1, T, user_id="u", anonymous_id="a"))
    handover = Handover(
        "user_id:u", "anonymous_id:a", "anonymous_id:a", 1, replayed("anonymous_id:a", [event(2, T)], T)
    )
    alone.get(handover)
    stored = encode_profile(alone.profile)
    assert alone.get(handover) == StepResult()
    assert encode_profile(alone.profile) == stored


def test_events_beyond_the_hold_limit_are_applied_immediately(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "MAX_HELD", 2)
    alone = Alone()
    results = [alone.did(event(n, T + n, user_id="u", anonymous_id="a"), T + n) for n in range(4)]
    assert [result.counts.get("unheld", 0) for result in results] == [0, 0, 1, 1]
    assert list(alone.profile.seen) == [message_hash("m2"), message_hash("m3")]
    alone.get(Refused("user_id:u", "anonymous_id:a", "user_id:v"), T + 9)
    assert len(alone.profile.seen) == 4


def test_looping_message_is_dropped_and_counted() -> None:
    alone = Alone("anonymous_id:a")
    alone.get(Claim("anonymous_id:a", "anonymous_id:a", "user_id:u"))
    result = alone.get(Forward("anonymous_id:a", event(1, T), hops=identity.MAX_HOPS))
    assert (result.messages, result.counts) == ((), {"gave_up": 1})
    assert alone.get(Forward("anonymous_id:a", event(1, T))).messages == [
        Forward("user_id:u", event(1, T), 1)
    ]


def test_claimant_merges_into_a_profile_that_precedes_it_in_rank() -> None:
    alone = Alone("email:a@x")
    alone.did(event(1, T, email="a@x"))
    assert alone.get(Claim("email:a@x", "email:a@x", "email:b@x")).messages == [
        MergeRequest("email:b@x", "email:a@x", "email:a@x")
    ]
    (handover,) = alone.get(Claim("email:a@x", "email:a@x", "user_id:u")).messages
    assert isinstance(handover, Handover)
    assert handover.state is not None
    assert alone.profile == Profile(
        "email:a@x", alone.profile.sequence, -1, ENGINE.version, merged_into="user_id:u"
    )


def test_memberships_of_a_merged_profile_continue_under_the_survivor() -> None:
    device = Alone("anonymous_id:a")
    for number in range(4):
        device.did(event(number, T + number, anonymous_id="a"), T)
    assert set(device.profile.members) == {"all-time", "recent", "today"}
    result = device.get(Claim("anonymous_id:a", "anonymous_id:a", "user_id:u"), T + S)
    fields = [(c.segment_key, c.action, c.reason, c.merged_into, c.sequence) for c in result.changes]
    assert fields == [
        ("all-time", "exited", "merge", "user_id:u", 4),
        ("recent", "exited", "merge", "user_id:u", 5),
        ("today", "exited", "merge", "user_id:u", 6),
    ]
    user = Alone()
    user.did(event(9, T + 2, user_id="u", anonymous_id="a"), T)
    (handover,) = result.messages
    changes = user.get(handover, T + S).changes
    assert [(c.segment_key, c.action, c.reason, c.merged_into) for c in changes] == [
        ("all-time", "entered", "merge", None),
        ("recent", "entered", "merge", None),
        ("today", "entered", "merge", None),
    ]
    since = {key: member.since_ms for key, member in user.profile.members.items()}
    assert since == {"all-time": T + 3, "recent": T + 2, "today": T + 1}


def test_idle_profile_is_brought_up_to_date_when_merged() -> None:
    user = Alone()
    user.did(event(1, T, user_id="u"), T)
    user.identity.on_timer(user.profile, clock_ms=T + 2 * H)
    assert set(user.profile.members) == {"quiet"}
    device = replayed("anonymous_id:a", [event(2, T + 2 * H - S)], T + 2 * H)
    begin_waiting(user.profile, device.id, explicit=False, clock_ms=T + 2 * H)
    result = user.get(Handover("user_id:u", device.id, device.id, 1, device), T + 2 * H)
    assert [(c.segment_key, c.action, c.reason) for c in result.changes] == [
        ("quiet", "exited", "merge"),
        ("today", "entered", "merge"),
    ]
    assert user.profile.due_ms == T + 3 * H - S


def test_new_definitions_do_not_evaluate_redirects() -> None:
    others = Identity(Engine(segments(absent={"did_not": "A"})))
    for alone in (Alone(), Alone("anonymous_id:a")):
        alone.did(event(1, T, user_id="u", anonymous_id="a"))
        if alone.profile.id != "user_id:u":
            alone.get(Claim(alone.profile.id, alone.profile.id, "email:e@x"))
        assert others.on_definitions(alone.profile, clock_ms=T) == StepResult()
        assert alone.profile.evaluated_by == others.engine.version


def test_pending_claims_and_held_events_are_stored() -> None:
    alone = Alone()
    alone.did(event(1, T, user_id="u", anonymous_id="a", email="e@x"))
    device = replayed("anonymous_id:a", [event(2, T)], T)
    alone.get(Handover("user_id:u", device.id, device.id, 1, device))
    assert decode_profile(encode_profile(alone.profile)) == alone.profile
    assert alone.profile.links is not None
    assert alone.profile.links.sources[0].profile.features == device.features


def test_late_answers_date_the_merge_from_the_claim() -> None:
    """Compare two claims that are answered late and together with immediate answers."""
    published = []
    for late in (False, True):
        user, answers = Alone(), []
        changes: list[Any] = []
        for number, device in enumerate(("anonymous_id:a", "anonymous_id:b")):
            name = device.removeprefix("anonymous_id:")
            at_ms = T + number * 2 * H
            changes += user.did(event(number, at_ms, user_id="u", anonymous_id=name), at_ms - S).changes
            alone = Alone(device)
            alone.did(event(10 + number, at_ms - H, anonymous_id=name), at_ms - S)
            (answer,) = alone.get(Claim(device, device, "user_id:u", at_ms=at_ms), at_ms - S).messages
            answers.append(answer)
            if not late:
                changes += user.get(answer, at_ms).changes
        for answer in answers if late else ():
            changes += user.get(answer, T + 3 * H).changes
        changes += user.identity.on_timer(user.profile, clock_ms=T + 9 * H).changes
        published.append(changes)
    assert published[0] == published[1]
    assert [c.reason for c in published[0]].count("merge") > 1


def test_conflict_is_reported_once() -> None:
    alone = Alone()
    alone.identity = Identity(ENGINE, Rules(limits=(("anonymous_id", 0),)))
    conflicts = [alone.did(event(n, T, user_id="u", anonymous_id="a")).not_merged for n in range(2)]
    assert [(each.reason, each.identifier) for each in conflicts[0]] == [("limit", "anonymous_id:a")]
    assert not conflicts[1]


def test_event_with_known_identifiers_only_is_not_news() -> None:
    alone = Alone()
    knows = alone.identity.knows
    both = event(1, T, user_id="u", anonymous_id="a")
    assert knows(alone.profile, event(0, T, user_id="u"))
    assert not knows(alone.profile, both)
    alone.did(both)
    assert not knows(alone.profile, event(2, T, user_id="u"))
    alone.get(Handover("user_id:u", "anonymous_id:a", "anonymous_id:a"))
    assert knows(alone.profile, both)
    assert not knows(alone.profile, alias(3, T, user="u", was="v"))


def test_unconfigured_identifier_is_not_news() -> None:
    profile, both = Profile("user_id:u"), event(0, T, user_id="u", anonymous_id="a")
    rules = Rules(priority=("user_id",))
    assert not Identity(ENGINE).knows(profile, both)
    assert Identity(ENGINE, rules).knows(profile, both)


def test_answer_that_ends_the_wait_is_stored_although_a_deferred_split_is_stale() -> None:
    alone = Alone()
    alone.did(event(1, T, user_id="u", anonymous_id="a"), T)
    alone.get(Split("user_id:u", "anonymous_id:unknown", 4))  # deferred: the profile waits
    result = alone.get(Handover("user_id:u", "anonymous_id:a", "anonymous_id:a", 0, None, at_ms=T))
    assert result.waiting is False
    assert result.moved
