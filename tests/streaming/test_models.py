"""Models on Kafka: published with the segments that read them, taken back, and all of it or nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from segops.brokers import LocalBroker
from segops.core.errors import UserError
from segops.kafka.definitions import DefinitionLog, read
from segops.operations.plans import TooMuch
from tests.rest import in_rest, rest
from tests.schemas.test_shared_models import large

from .conftest import require_transactions
from .helpers import START_MS, Sent, Stack, wait_until
from .test_plans import done, written
from .test_published_plans import kill
from .topic_deletion import delete_topics

pytestmark = pytest.mark.broker

HOUR = 3_600_000
SEGMENTS = """
version: 1
scores: {likes: {}}
segments:
  - {key: fans, when: {score: likes, is: {gte: 2}}}
  - {key: loyal-fans, when: {all: [{in_segment: fans}, {did: Buy}]}}
  - {key: buyers, when: {did: Buy}}
"""


def model(stack: Stack, weight: float, name: str = "likes.json", event: str = "View", **fields: Any) -> str:
    """Write a model whose score is the number of events of 30 days times a weight."""
    form = {
        "name": "likes",
        "kind": "linear",
        "fitted_at": "2026-01-01T00:00:00Z",
        "features": [{"name": "views", "figure": {"did": event, "within": "30d"}}],
        "parameters": {"intercept": 0.0, "weights": {"views": weight}},
        **fields,
    }
    path: Path = stack.folder / name
    path.write_text(json.dumps(form))
    return str(path)


def happened(name: str, user: str, number: int) -> Sent:
    event = {"type": "track", "event": name, "userId": user, "messageId": f"m{number}"}
    return Sent(0, json.dumps({**event, "timestamp": f"2025-10-09T0{number}:00:00Z"}).encode())


def members(stack: Stack) -> dict[str, set[str]]:
    """Return the members of each segment, by the topic of memberships."""
    rows = {r.key.decode(): json.loads(r.value) for r in stack.read(stack.settings.topics.membership_state)}
    found: dict[str, set[str]] = {"fans": set(), "loyal-fans": set(), "buyers": set()}
    for each in rows.values():
        if each["member"]:
            found[each["segment_key"]].add(each["user_id"])
    return found


def wait_for(stack: Stack, fans: set[str], loyal: set[str]) -> None:
    expected = {"fans": fans, "loyal-fans": loyal, "buyers": {"u1"}}
    wait_until(lambda: members(stack) == expected, f"members {expected}", stack.diagnosis)


def reasons(stack: Stack, key: str) -> dict[str, list[tuple[bool, str]]]:
    """Return of each user whether it entered or left a segment, and why, in order."""
    found: dict[str, list[tuple[bool, str]]] = {}
    for record in stack.read(stack.settings.topics.membership_changes):
        change = json.loads(record.value)
        if change["segment_key"] == key:
            found.setdefault(change["user_id"], []).append((change["member"], change["reason"]))
    return found


def published(stack: Stack) -> DefinitionLog:
    return asyncio.run(read(stack.settings))


def versions(stack: Stack) -> tuple[list[int], dict[str, tuple[int, int | None]]]:
    """Return the versions of the model, and of each definition with the version of the model it carries."""
    log = published(stack)
    assert log.models is not None
    carried = {
        key: (each.version, (each.models or {}).get("likes", {}).get("version"))
        for key, each in log.live.items()
    }
    return log.models.versions("likes"), carried


def test_model_moves_members_and_is_taken_back(stack: Stack, guarantee: str) -> None:
    stack.guarantee = guarantee
    stack.publish(SEGMENTS)
    file = str(stack.folder / "segments.yaml")
    stack.start()
    events = [happened("Buy", "u1", 0), happened("View", "u1", 1), happened("View", "u2", 2)]
    stack.send([*events, happened("View", "u2", 3)], final_ms=START_MS + HOUR)
    wait_for(stack, set(), set())

    one = model(stack, 1.0)
    shown = json.loads(done(stack, "models", "publish", one, "--dry-run", "--format", "json").stdout)
    assert (shown["version"], shown["published"]) == (1, False)
    moved = {each["segment_key"]: (each["entering"], each["leaving"]) for each in shown["plan"]["segments"]}
    assert moved == {"fans": (1, 0), "loyal-fans": (0, 0)}
    assert versions(stack) == ([], {"fans": (1, None), "loyal-fans": (1, None), "buyers": (1, None)})
    text = done(stack, "models", "publish", one).stdout
    assert "~ fans  version 2  changed" in text and "likes  version 1 is in force" in text
    wait_for(stack, {"u2"}, set())
    assert versions(stack) == ([1], {"fans": (2, 1), "loyal-fans": (1, None), "buyers": (1, None)})

    done(stack, "models", "publish", model(stack, 2.0))
    wait_for(stack, {"u1", "u2"}, {"u1"})
    stack.stop()
    stack.start()
    stack.send([happened("View", "u3", 4)], final_ms=START_MS + 2 * HOUR)
    wait_for(stack, {"u1", "u2", "u3"}, {"u1"})

    assert (
        "likes  version 3 is in force, which is version 1 again"
        in done(stack, "models", "rollback", "likes").stdout
    )
    wait_for(stack, {"u2"}, set())
    assert versions(stack)[0] == [1, 2, 3] and versions(stack)[1]["fans"] == (4, 3)
    assert reasons(stack, "fans") == {
        "u1": [(True, "score"), (False, "score")],
        "u2": [(True, "score")],
        "u3": [(True, "event"), (False, "score")],
    }
    assert reasons(stack, "loyal-fans") == {"u1": [(True, "score"), (False, "score")]}

    assert "= fans  version 4  unchanged" in done(stack, "apply", file).stdout
    listed = json.loads(done(stack, "models", "list", "--format", "jsonl").stdout)
    assert (listed["version"], listed["restores"], listed["used_by"]) == (3, 1, ["fans"])
    again = json.loads(done(stack, "models", "show", "likes", "--version", "2", "--format", "json").stdout)
    assert again["parameters"]["weights"] == {"views": 2.0}


def test_limits_hold_and_an_unready_model_scores_no_one(stack: Stack) -> None:
    stack.publish(SEGMENTS)
    stack.start()
    stack.send([happened("Buy", "u1", 0), happened("View", "u1", 1)], final_ms=START_MS + HOUR)
    wait_for(stack, set(), set())
    strong = model(stack, 5.0)
    found = stack.segops("models", "publish", strong, "--max-changes", "0")
    assert isinstance(found.exception, TooMuch) and set(found.exception.segments) == {"fans", "loyal-fans"}
    planned = published(stack).planned
    assert planned is not None and planned.state == "discarded"
    assert versions(stack) == ([], {"fans": (1, None), "loyal-fans": (1, None), "buyers": (1, None)})
    done(stack, "models", "publish", strong, "--yes")
    wait_for(stack, {"u1"}, {"u1"})
    unready = model(stack, 5.0, status="not_enough_data", reasons=["9 customers"])
    assert "its scores are missing" in done(stack, "models", "publish", unready).output
    wait_for(stack, set(), set())
    done(stack, "models", "rollback", "likes")
    wait_for(stack, {"u1"}, {"u1"})


def test_feature_that_is_read_for_the_first_time_counts_the_past(stack: Stack) -> None:
    stack.publish(SEGMENTS)
    stack.start()
    events = [happened("Buy", "u1", 0), happened("Share", "u2", 1), happened("Share", "u2", 2)]
    stack.send(events, final_ms=START_MS + HOUR)
    wait_for(stack, set(), set())
    shown = done(stack, "models", "publish", model(stack, 1.0, event="Share"), "--yes").stdout
    assert "1 segment waits for history" in shown
    wait_for(stack, {"u2"}, set())


@pytest.mark.parametrize(
    ("point", "there"), [("_send", False), in_rest("_write", True)], ids=["in_transaction", "committed"]
)
def test_killed_publisher_leaves_all_or_nothing(
    stack: Stack, broker: LocalBroker, point: str, there: bool
) -> None:
    require_transactions(broker)
    stack.publish(SEGMENTS)
    before = {"fans": (1, None), "loyal-fans": (1, None), "buyers": (1, None)}
    after = {**before, "fans": (2, 1)}
    kill(stack, point, "models", "publish", model(stack, 1.0), "--yes")
    assert versions(stack) == (([1], after) if there else ([], before))
    done(stack, "models", "publish", model(stack, 1.0), "--yes")
    assert versions(stack)[0] == ([1, 2] if there else [1])
    if there:
        kill(stack, "_send", "models", "rollback", "likes", "--yes")
        assert versions(stack)[0] == [1, 2]


LARGE = """
version: 1
scores: {one: {}, two: {}, three: {}}
segments:
  - {key: fans, when: {score: one, is: {gte: 0}}}
  - {key: loyal-fans, when: {all: [{score: one, is: {gte: 0}}, {did: Buy}]}}
  - {key: buyers, when: {any: [{score: one, is: {exists: false}}, {score: two, is: {gte: 0}}, {did: Buy}]}}
"""


def large_model(stack: Stack, name: str) -> str:
    path: Path = stack.folder / f"{name}.json"
    path.write_text(json.dumps({**large(name), "version": 0}))
    return str(path)


def test_models_near_the_limit_are_planned_and_adopted(stack: Stack) -> None:
    stack.publish(LARGE)
    stack.start()
    stack.send([happened("View", "u1", 1), happened("Buy", "u1", 2)], final_ms=START_MS + HOUR)
    wait_for(stack, set(), set())
    done(stack, "models", "publish", large_model(stack, "one"))
    wait_for(stack, {"u1"}, {"u1"})
    done(stack, "models", "publish", large_model(stack, "two"))
    carried = {key: len(each.models or {}) for key, each in published(stack).live.items()}
    assert carried == {"fans": 1, "loyal-fans": 1, "buyers": 2}
    done(stack, "models", "publish", large_model(stack, "three"))
    every = LARGE.replace("{did: Buy}]}}\n", "{did: Buy}, {score: three, is: {gte: 0}}]}}\n")
    found = stack.segops("apply", written(stack, "every.yaml", every), "--yes")
    assert isinstance(found.exception, UserError)
    assert "the definition of buyers has 1," in str(found.exception) and "three 3" in str(found.exception)
    stack.stop()
    stack.start()
    stack.send([happened("Buy", "u1", 3)], final_ms=START_MS + 2 * HOUR)
    wait_for(stack, {"u1"}, {"u1"})


def test_segments_that_are_published_later_get_the_models_in_force(stack: Stack) -> None:
    stack.publish("version: 1\nsegments: [{key: buyers, when: {did: Buy}}]")
    shown = done(stack, "models", "publish", model(stack, 1.0)).stdout
    assert "no published segment reads its scores (likes)" in shown
    applied = done(stack, "apply", written(stack, "later.yaml", SEGMENTS))
    assert "not fitted yet" not in applied.output
    assert versions(stack)[1]["fans"] == (1, 1)


@rest
def test_without_the_topic_definitions_are_published_and_models_are_refused(stack: Stack) -> None:
    """As after an upgrade, before a worker or `segops topics create` has created it."""
    stack.publish(SEGMENTS)
    delete_topics(stack, [stack.settings.topics.models])
    found = stack.segops("models", "publish", model(stack, 1.0), "--yes")
    assert isinstance(found.exception, UserError) and "segops topics create" in str(found.exception)
    edited = SEGMENTS.replace("did: Buy}}\n", "did: Bought}}\n")
    assert "~ buyers  version 2  changed" in done(stack, "apply", written(stack, "e.yaml", edited)).stdout
