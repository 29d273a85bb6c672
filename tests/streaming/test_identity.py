"""One profile per person in a running system: workers publish the merges that replay computes."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

from segops.core.profile import Profile
from segops.core.segments import SegmentSet
from segops.core.values import format_instant
from segops.replay import Replay
from segops.schemas.changes import encode_change
from segops.schemas.state import decode_profile
from tests.rest import in_rest

from .helpers import START_MS, Sent, Stack, comparable, wait_until

pytestmark = pytest.mark.broker

WALL_MS = 2_000_000_000_000
MINUTE = 60_000
HOUR = 60 * MINUTE

SEGMENTS = """
version: 1
segments:
  - key: viewers
    name: Three views ever
    when: {did: Product Viewed, count: {gte: 3}}
  - key: keen
    name: Two views in six hours
    when: {did: Product Viewed, count: {gte: 2}, within: 6h}
  - key: spenders
    name: Spenders
    when: {sum: total, of: Order Completed, is: {gte: 300}}
  - key: quiet
    name: No order for a day
    when: {did_not: Order Completed, within: 24h}
  - key: gold
    name: Gold customers
    when: {trait: plan, is: {eq: gold}}
  - key: lately
    name: Active lately
    when: {score: recency_days, is: {lt: 2}}
  - key: old-friends
    name: Known for two days
    when: {known_for: 2d}
"""


class Story:
    """Events in time order, each person's in one partition, and their replay."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.now_ms = START_MS
        self.sent: list[Sent] = []
        self.replay = Replay(SegmentSet(stack.definitions), wall_ms=WALL_MS)
        self.expected: dict[str, dict[str, Any]] = {}
        self._number = 0
        self._replayed = 0

    def event(self, name: str, who: str, *, home: int = 0, **more: Any) -> None:
        """Add one event a minute. Words in ``who`` starting with u, a, m are user, device and email."""
        self._number += 1
        self.now_ms += MINUTE
        kinds = {"u": "userId", "a": "anonymousId", "m": "email"}
        ids = {kinds[word[0]]: word for word in who.split()}
        mail = {"traits": {"email": f"{ids.pop('email')}@shop.example"}} if "email" in ids else {}
        form = {
            "type": "track",
            "event": name,
            "messageId": f"m{self._number}",
            "timestamp": format_instant(self.now_ms),
            "context": mail,
            **ids,
            **more,
        }
        self.sent.append(Sent(home % self.stack.partitions, json.dumps(form).encode()))

    def alias(self, user: str, previous: str) -> None:
        self.event("-", user, type="alias", previousId=previous)

    def until(self, now_ms: int) -> None:
        """Replay the new events and advance the clock to an instant."""
        self.now_ms = max(self.now_ms, now_ms)
        changes = [
            c for one in self.sent[self._replayed :] for c in self.replay.feed(one.value, default_id="")
        ]
        changes += self.replay.advance(self.now_ms)
        self._replayed = len(self.sent)
        self.expected |= {c.change_id: comparable(encode_change(c, 0)) for c in changes}

    def publish(self, pause_ms: int = HOUR) -> None:
        """Send the new events, advance the clock and wait until all changes are published."""
        news = self.sent[self._replayed :]
        self.until(self.now_ms + pause_ms)
        self.stack.send(news, final_ms=self.now_ms)
        self.stack.wait_for_changes(self.expected)

    def members(self, profile_id: str) -> set[str]:
        return set(self.replay.profiles[profile_id].members)


@pytest.fixture
def story(stack: Stack) -> Story:
    stack.publish(SEGMENTS)
    return Story(stack)


def stored(stack: Stack) -> dict[str, Profile]:
    """Return each profile and redirect in the changelog."""
    latest = {record.key: record.value for record in stack.read(stack.settings.worker.changelog)}
    latest = {key: state for key, state in latest.items() if not key.startswith(b"\0")}
    return {profile_id.decode(): decode_profile(state) for profile_id, state in latest.items()}


def rows(stack: Stack) -> set[tuple[str, str]]:
    """Return the memberships by the latest row of each profile and segment."""
    latest = {record.key: record.value for record in stack.read(stack.settings.topics.membership_state)}
    found = [json.loads(value) for value in latest.values()]
    return {(row["profile_id"], row["segment_key"]) for row in found if row["member"]}


def members(profiles: Iterable[Profile]) -> set[tuple[str, str]]:
    return {(profile.id, key) for profile in profiles for key in profile.members}


def sizes(stack: Stack) -> dict[str, int]:
    page = stack.get("/metrics")[1].splitlines()
    found = [line.split() for line in page if line.startswith("segops_segment_members{")]
    return {name.split('"')[1]: int(float(value)) for name, value in found if float(value)}


def metric(stack: Stack, name: str) -> float:
    page = stack.get("/metrics")[1].splitlines()
    return sum(float(line.split()[-1]) for line in page if line.startswith((f"{name} ", f"{name}{{")))


def same_people(stack: Stack, replay: Replay, *, since: bool = True) -> bool:
    """Return whether the same identifiers are merged, with the same memberships and start times."""
    found, wanted = stored(stack), replay.profiles
    ids = {key for key, profile in wanted.items() if profile.first_ms is not None or profile.merged_into}
    return ids <= found.keys() and all(_same(found[key], wanted[key], since=since) for key in ids)


def _same(found: Profile, wanted: Profile, *, since: bool) -> bool:
    identifiers = [set(each.links.owned) if each.links else {each.id} for each in (found, wanted)]
    joined = [
        {key: m.since_ms if since else 0 for key, m in each.members.items()} for each in (found, wanted)
    ]
    numbered = not since or found.sequence == wanted.sequence
    return (
        found.merged_into == wanted.merged_into
        and identifiers[0] == identifiers[1]
        and joined[0] == joined[1]
        and numbered
    )


def assert_converges(story: Story) -> None:
    """Wait until profiles and memberships equal those of replay, in whatever order events were read."""
    stack = story.stack
    wait_until(lambda: same_people(stack, story.replay, since=False), "the people", stack.diagnosis)
    wait_until(lambda: rows(stack) == members(story.replay.profiles.values()), "the rows", stack.diagnosis)
    sequences: dict[str, list[tuple[int, str, bool]]] = {}
    for change in stack.changes().values():
        row = (change["sequence"], change["segment_key"], change["member"])
        sequences.setdefault(change["profile_id"], []).append(row)
    for published in sequences.values():
        assert [number for number, _, _ in sorted(published)] == list(range(1, len(published) + 1))
        inside: set[str] = set()
        for _, key, member in sorted(published):
            assert member is (key not in inside)
            inside ^= {key}


def crowd(story: Story, people: int, seed: int, *, keyed: bool = True) -> None:
    """Add visitors on one or two devices who log in at some time and then send both identifiers.

    With ``keyed``, each visitor's events are in one partition and so in order.
    """
    rng = random.Random(seed)
    known: dict[tuple[int, int], bool] = {}
    for _ in range(people * 12):
        person, device = rng.randrange(people), rng.randrange(2)
        logged_in = known.setdefault((person, device), False) or rng.random() < 0.25
        known[person, device] = logged_in
        who = f"a{person}-{device}" + (f" u{person}" if logged_in else "")
        name = rng.choice(["Product Viewed", "Product Viewed", "Order Completed"])
        plan = {"context": {"traits": {"plan": rng.choice(["gold", None])}}} if rng.random() < 0.1 else {}
        home = person if keyed else rng.randrange(99)
        story.event(name, who, home=home, properties={"total": rng.randrange(200)}, **plan)


def test_login_merges_the_device_with_all_counts(story: Story) -> None:
    stack = story.stack
    stack.start()
    for _ in range(2):
        story.event("Product Viewed", "a1")
    story.event("Order Completed", "u1", home=1, properties={"total": 200})
    story.publish()
    assert story.members("anonymous_id:a1") == {"keen", "lately", "quiet"}
    story.event("Product Viewed", "u1 a1")
    story.event("Order Completed", "u1 a1", properties={"total": 150})
    story.publish()
    assert story.members("user_id:u1") == {"viewers", "keen", "lately", "spenders"}
    story.event("Product Viewed", "a1")
    story.publish(3 * 24 * HOUR)
    assert story.members("user_id:u1") == {"viewers", "spenders", "quiet", "old-friends"}
    closed = [change for change in story.expected.values() if change["merged_into"]]
    assert {change["profile_id"] for change in closed} == {"anonymous_id:a1"}
    assert {(change["action"], change["reason"]) for change in closed} == {("exited", "merge")}
    wait_until(lambda: same_people(stack, story.replay), "the stored profiles", stack.diagnosis)
    assert rows(stack) == members(story.replay.profiles.values())
    assert sizes(stack) == {key: size for key, size in story.replay.sizes.items() if size}
    assert metric(stack, "segops_merges_total") == 1
    assert metric(stack, "segops_redirects_followed_total") == 1
    assert metric(stack, "segops_merge_convergence_seconds_count") == 1
    assert metric(stack, "segops_profile_identifiers_sum") == 2
    assert metric(stack, "segops_profiles_waiting") == 0


@pytest.mark.parametrize(
    "point",
    [
        "after_output_ack:2",
        *map(
            in_rest,
            ["after_batch:3", "after_changelog_ack:2", "after_store_write:2", "after_offset_commit:2"],
        ),
    ],
)
def test_kill_during_merges_does_not_affect_the_result(story: Story, guarantee: str, point: str) -> None:
    stack = story.stack
    stack.guarantee = guarantee
    crowd(story, 25, seed=len(point))
    story.until(story.now_ms + 24 * HOUR)
    stack.send(story.sent, final_ms=story.now_ms)
    assert stack.start(crash_at=point).wait(60) == 137
    stack.start()
    assert_converges(story)
    if guarantee == "exactly_once":
        # With at_least_once, a re-forwarded event may arrive after later events of another partition,
        # which makes an event from before a log-in late.
        stack.wait_for_changes(story.expected)
        assert same_people(stack, story.replay)


def test_two_workers_converge_for_any_record_keys(story: Story, guarantee: str) -> None:
    stack = story.stack
    stack.guarantee = guarantee
    for number in (0, 1):
        stack.start(number=number)
    wait_until(
        lambda: stack.owned_partitions(0) and stack.owned_partitions(1),
        "both own partitions",
        stack.diagnosis,
    )
    crowd(story, 20, seed=3, keyed=False)
    story.until(story.now_ms + 24 * HOUR)
    stack.send(story.sent, final_ms=story.now_ms)
    assert_converges(story)


def test_merges_of_members_and_of_counts(story: Story) -> None:
    """Merge members and non-members, with shared events, late events, chains and cycles."""
    stack = story.stack
    stack.start()
    for who, views in (("aboth", 3), ("uboth", 4), ("aone", 3), ("uone", 1), ("asum", 2), ("usum", 1)):
        for _ in range(views):
            story.event("Product Viewed", who, home=len(who))
    for who in ("asaw", "usaw"):
        story.event("Order Completed", who, messageId="same", properties={"total": 200})
    for user in ("u-a", "u-b", "u-c", "u-d", "u-e"):
        story.event("Product Viewed", user, home=ord(user[-1]))
    story.publish()
    for person in ("both", "one", "sum", "saw"):
        story.event("Log In", f"u{person} a{person}", home=len(person))
    story.alias("u-b", "u-a")
    story.alias("u-e", "u-d")
    story.publish()
    story.event("Order Completed", "asum", properties={"total": 300})
    story.event("Order Completed", "asaw", properties={"total": 99})
    story.alias("u-c", "u-b")
    story.alias("u-d", "u-e")
    story.publish()
    story.event("Product Viewed", "u-a")
    story.publish(2 * 24 * HOUR)
    assert {story.replay.profiles[f"user_id:u-{name}"].merged_into for name in "abd"} == {
        "user_id:u-b",
        "user_id:u-c",
        "user_id:u-e",
    }
    for person in ("both", "one", "sum"):
        assert "viewers" in story.members(f"user_id:u{person}")
    assert "viewers" in story.members("user_id:u-c")
    assert "spenders" in story.members("user_id:usum")
    assert "spenders" not in story.members("user_id:usaw"), "an order seen by both profiles counts once"
    assert_converges(story)


def test_inactive_profile_is_evaluated_for_all_segments_when_merged(story: Story) -> None:
    stack = story.stack
    stack.start()
    story.event("identify", "u1", type="identify", traits={"plan": "gold"})
    story.publish(5 * 24 * HOUR)
    story.event("Product Viewed", "a1", home=1)
    story.event("Product Viewed", "a1 m1", home=1)
    story.publish()
    assert story.members("email:m1@shop.example") == {"keen", "lately", "quiet"}
    story.event("Log In", "u1 m1", home=2)
    story.publish(2 * HOUR)
    assert story.members("user_id:u1") == {"gold", "keen", "lately", "quiet", "old-friends"}
    story.publish(2 * 24 * HOUR)
    assert story.members("user_id:u1") == {"gold", "quiet", "old-friends"}


def test_known_users_sharing_an_identifier_are_not_merged(story: Story) -> None:
    stack = story.stack
    stack.start()
    story.event("Product Viewed", "u1 ashop")
    story.event("Product Viewed", "u3 aown")
    for number in range(5):
        story.event("Product Viewed", f"mall a{number}")
    story.publish()
    for number in range(20, 50):
        story.event("Product Viewed", f"u{number} ashop", home=number)
    story.event("Product Viewed", "u3 aown2")
    for number in range(5, 9):
        story.event("Product Viewed", f"mall a{number}")
    story.publish()
    for who in ("ashop", "aown", "aown2", "a7", "mall"):
        story.event("Order Completed", who, properties={"total": 400})
    story.publish()
    spenders = {key for key, profile in story.replay.profiles.items() if "spenders" in profile.members}
    assert spenders == {"user_id:u1", "user_id:u3", "anonymous_id:a7", "email:mall@shop.example"}
    assert metric(stack, "segops_identity_conflicts_total") == 30
    assert metric(stack, "segops_identity_limits_total") == 4
    noted = [dict(record.headers) for record in stack.read(stack.settings.topics.dead_letters)]
    reasons = Counter(headers["segops-reason"] for headers in noted)
    assert reasons == {b"identity_conflict": 30, b"identity_limit": 4}
    assert b"user_id:u20 is not merged with anonymous_id:ashop: it belongs to user_id:u1" in {
        headers["segops-detail"] for headers in noted
    }


def test_login_merges_promptly_with_the_wall_clock(story: Story, guarantee: str) -> None:
    stack = story.stack
    stack.guarantee = guarantee
    stack.environment = {"SEGOPS_CLOCK": "wall"}
    stack.start()
    wait_until(lambda: stack.get("/readyz")[0] == 200, "ready", stack.diagnosis)
    # The events have no timestamp, so Kafka's record timestamps apply.
    for number in range(30):
        for step, who in enumerate((f"a{number}", f"a{number}", f"a{number} u{number}")):
            story.event("Product Viewed", who, home=number, timestamp=None, messageId=f"{number}-{step}")
    stack.send(story.sent)
    wanted = {(f"user_id:u{number}", key) for number in range(30) for key in ("viewers", "keen", "lately")}
    wait_until(lambda: rows(stack) >= wanted, "thirty profiles", stack.diagnosis)
    redirects = {f"anonymous_id:a{number}": f"user_id:u{number}" for number in range(30)}
    found = lambda: {key: profile.merged_into for key, profile in stored(stack).items()}  # noqa: E731
    wait_until(lambda: found().items() >= redirects.items(), "merged devices", stack.diagnosis)
    assert metric(stack, "segops_events_not_held_total") == 0
