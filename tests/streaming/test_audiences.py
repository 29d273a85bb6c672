"""Audiences on a running system: exact reach, approval bound to what was seen, one transaction per action."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from click.testing import Result

from segops.brokers import LocalBroker
from segops.config import load
from segops.core.audiences import model
from segops.core.audiences.model import AudienceRecord
from segops.core.errors import UserError
from segops.kafka import reading
from segops.kafka.definitions import read
from segops.operations.audiences import actions, store
from segops.operations.audiences.actors import acting
from segops.operations.audiences.store import Known, read_known
from segops.schemas.audiences import encode_record
from segops.wall_clock import wall_ms
from tests.rest import rest

from .conftest import require_transactions
from .helpers import START_MS, Sent, Stack, wait_until
from .test_published_plans import kill
from .test_scans import members

pytestmark = pytest.mark.broker
SEGMENTS = """
version: 1
segments:
  - {key: at-risk, when: {all: [{in_segment: known}, {did: Visited}]}}
  - {key: known, when: {identified: true}}
  - {key: unsubscribed, when: {trait: news, is: {eq: false}}}
"""
#: The rule needs history, since no published segment counts this.
WITH_HISTORY = SEGMENTS.replace("{did: Visited}", "{did_not: Visited, within: 30d}")
EDITED = SEGMENTS.replace("{did: Visited}", "{did: Visited, count: {gte: 2}}")
AUDIENCE = """
version: 1
audiences:
  - key: winback
    segment: at-risk
    channel: email
    suppress: [unsubscribed, trait.bounced]
    hold_out: {salt: winback, percent: 20}
    deliver: [{to: crm-hook}]
"""
PEOPLE = 60
TOKENS = {"ann": "token-of-ann-1234", "bob": "token-of-bob-1234", "ai:drafter": "token-of-ai-12345"}
SIGNED = {
    "SEGOPS_AUDIT_KEY": "k" * 32,
    "SEGOPS_ACTORS": ",".join(
        f"{actor}={hashlib.sha256(token.encode()).hexdigest()}" for actor, token in TOKENS.items()
    ),
}


def ran(stack: Stack, *arguments: str, actor: str = "ann", **more: str) -> Result:
    """Run ``segops audiences`` as an actor, where four eyes are needed and the audit is signed."""
    who = {"SEGOPS_ACTOR": actor, "SEGOPS_ACTOR_TOKEN": TOKENS.get(actor, "-")}
    return stack.segops("audiences", *arguments, **{**who, **SIGNED, "SEGOPS_APPROVAL": "other", **more})


def done(stack: Stack, *arguments: str, actor: str = "ann", **more: str) -> str:
    found = ran(stack, *arguments, actor=actor, **more)
    assert found.exit_code == 0, (found.output, found.exception)
    return found.stdout


def refused(stack: Stack, *arguments: str, actor: str = "ann", **more: str) -> str:
    """Return why an action is refused, after checking that it wrote nothing."""
    before = audit(stack)
    found = ran(stack, *arguments, actor=actor, **more)
    assert isinstance(found.exception, UserError), (found.output, found.exception)
    assert audit(stack) == before
    return str(found.exception)


def shown(stack: Stack, key: str = "winback") -> dict[str, Any]:
    view: dict[str, Any] = json.loads(done(stack, "show", key, "--format", "json"))
    return view


def audit(stack: Stack) -> list[tuple[str, str, str, str]]:
    """Return actor, action, state before and after of each entry."""
    part = TopicPartition(stack.settings.topics.audit, 0)
    records = asyncio.run(reading.read_all(stack.settings.kafka, part))
    found = [json.loads(record.value)["entry"] for record in records]
    return [(each["by"]["actor"], each["action"], each["state_before"], each["state"]) for each in found]


def written(stack: Stack, text: str, name: str = "audiences.yaml") -> str:
    (stack.folder / name).write_text(text)
    return str(stack.folder / name)


def customer(number: int, *, visited: bool = True) -> list[Sent]:
    """Return the events of a person, whose traits follow from the number."""
    traits = {
        **({"email": f"u{number}@shop.example"} if number % 5 else {}),
        "consent": {"marketing": number % 7 != 0},
        "news": number % 11 != 0,
        "bounced": number % 13 == 0,
    }
    events: list[dict[str, Any]] = [{"type": "identify", "traits": traits}]
    events += [{"type": "track", "event": "Visited"}] if visited else []
    moment = datetime.fromtimestamp(START_MS / 1_000 + number, UTC).isoformat(timespec="milliseconds")
    return [
        Sent(
            number % 3,
            json.dumps(
                {**each, "userId": f"u{number}", "messageId": f"m{number}-{i}", "timestamp": moment}
            ).encode(),
        )
        for i, each in enumerate(events)
    ]


def expected(people: Sequence[int] = range(PEOPLE)) -> list[tuple[str, int]]:
    """Return the funnel of the audience over some people."""
    left = list(people)
    counts = [("segment", len(left))]
    for step, stays in (
        ("address", lambda n: n % 5),
        ("consent", lambda n: n % 7),
        ("suppressions", lambda n: n % 11 and n % 13),
        ("hold-out", lambda n: _bucket(n) >= 2_000),
    ):
        left = [each for each in left if stays(each)]
        counts.append((step, len(left)))
    return counts


def _bucket(number: int) -> int:
    hashed = hashlib.sha256(f"winback:user_id:u{number}".encode()).digest()
    return int.from_bytes(hashed[:8], "big") % 10_000


def started(stack: Stack) -> None:
    """Publish segments and the audience, and wait until its reach is there."""
    stack.publish(SEGMENTS)
    done(stack, "apply", written(stack, AUDIENCE))
    stack.send(
        [event for number in range(PEOPLE) for event in customer(number)], final_ms=START_MS + 3_600_000
    )
    stack.start()
    wait_until(lambda: shown(stack)["reach"] == expected()[-1][1], "the reach is there", stack.diagnosis)


def plan(stack: Stack, *, actor: str = "ann") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done(stack, "plan", "winback", "--format", "json", actor=actor))
    return found


def approved(stack: Stack, **more: str) -> str:
    """Plan, submit and approve the audience with these variables; return the id of the plan."""
    plan_id: str = plan(stack)["id"]
    done(stack, "submit", "winback")
    done(stack, "approve", "winback", "--plan", plan_id, actor="bob", **more)
    return plan_id


def test_audience_from_its_draft_to_its_end(stack: Stack) -> None:
    started(stack)
    repeated = ran(stack, "apply", written(stack, AUDIENCE))
    assert "winback: the destination crm-hook is not published" in repeated.stderr
    assert "the audience winback is void: there is none" in refused(stack, "submit", "winback")
    made = plan(stack)
    assert [(each["name"], each["left"]) for each in made["reach"]["steps"]] == expected()
    assert made["reach"]["profiles"] == PEOPLE and (made["approved"], made["moves"]) == (None, None)
    assert len(members(stack)["audience.winback"]) == expected()[-1][1]
    done(stack, "submit", "winback")
    assert "ann may not approve" in refused(stack, "approve", "winback", "--plan", made["id"])
    assert "only a person may" in refused(
        stack, "approve", "winback", "--plan", made["id"], actor="ai:drafter"
    )
    assert "unknown plan 'other'" in refused(stack, "approve", "winback", "--plan", "other", actor="bob")
    done(stack, "approve", "winback", "--plan", made["id"], actor="bob")
    found = shown(stack)
    assert (found["state"], found["void"], found["approval"]["reach"]) == ("active", [], expected()[-1][1])
    done(stack, "hold", "winback", "--note", "too many", actor="ai:drafter")
    assert shown(stack)["note"] == "too many"
    assert "only a person may" in refused(stack, "release", "winback", actor="ai:drafter")
    done(stack, "release", "winback")
    assert "'at-risk': used by audience.winback" in str(stack.segops("retire", "at-risk").exception)
    stack.publish(EDITED)
    assert (shown(stack)["state"], shown(stack)["void"]) == ("draft", ["segment at-risk was edited"])
    assert "it is draft (void: segment at-risk was edited)" in refused(stack, "pause", "winback")
    made = plan(stack)
    assert made["reach"]["steps"][0]["left"] == 0
    assert made["moves"] == {"entering": 0, "leaving": expected()[-1][1]}
    done(stack, "retire", "winback")
    assert "audience.winback" in asyncio.run(read(stack.settings)).retired
    assert "cannot be reused" in refused(stack, "apply", written(stack, AUDIENCE))
    listed = ran(stack, "audit", "--format", "jsonl")
    assert listed.exit_code == 0
    assert {json.loads(line)["signature"] for line in listed.stdout.splitlines()} == {"signed"}
    assert audit(stack) == [
        ("ann", "apply", "draft", "draft"),
        ("ann", "plan", "draft", "draft"),
        ("ann", "submit", "draft", "waiting"),
        ("bob", "approve", "waiting", "active"),
        ("ai:drafter", "hold", "active", "held"),
        ("ann", "release", "held", "active"),
        ("ann", "plan", "active", "active"),
        ("ann", "retire", "active", "retired"),
    ]


@rest
def test_plan_is_void_by_a_moved_reach_by_age_and_by_an_edit(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(stack)
    plan_id: str = plan(stack)["id"]
    done(stack, "submit", "winback")
    stack.send(
        [event for number in range(60, 90) for event in customer(number)], final_ms=START_MS + 7_200_000
    )
    now = expected(range(90))[-1][1]
    wait_until(lambda: shown(stack)["reach"] == now, "the reach moves", stack.diagnosis)
    why = refused(stack, "approve", "winback", "--plan", plan_id, actor="bob")
    assert f"the reach moved by more than 5 %: from {expected()[-1][1]} to {now}" in why
    plan_id = plan(stack)["id"]
    with monkeypatch.context() as patch:
        patch.setattr(model, "PLAN_VALID_MS", 0)
        assert "expired at" in refused(stack, "approve", "winback", "--plan", plan_id, actor="bob")
        assert "is older than 24 h" in refused(stack, "submit", "winback")
    named = AUDIENCE.replace("    segment:", "    name: Win-back\n    segment:")
    assert "described" in done(stack, "apply", written(stack, named))
    done(stack, "approve", "winback", "--plan", plan_id, actor="bob")
    done(stack, "apply", written(stack, named.replace("percent: 20", "percent: 30")), actor="bob")
    assert (shown(stack)["state"], shown(stack)["authors"]) == ("draft", ["bob"])
    assert "rule was edited" in refused(stack, "submit", "winback")
    preview = json.loads(done(stack, "plan", written(stack, AUDIENCE, "former.yaml"), "--format", "json"))
    assert [(each["name"], each["left"]) for each in preview["reach"]["steps"]] == expected(range(90))
    assert preview["moves"]["leaving"] == 0
    later = plan(stack)
    assert later["moves"] == {"entering": 0, "leaving": preview["moves"]["entering"]}
    stack.publish(WITH_HISTORY)
    assert [each["left"] for each in plan(stack)["reach"]["steps"]] == [0] * 5  # waits for the history


@rest
def test_second_of_two_persons_is_told(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    started(stack)
    approved(stack)
    for name, value in {**SIGNED, "SEGOPS_ACTOR": "ann", "SEGOPS_ACTOR_TOKEN": TOKENS["ann"]}.items():
        monkeypatch.setenv(name, value)
    original = store.read_known
    first: list[Result] = []

    async def slow(*arguments: Any, **options: Any) -> Known:
        """Read, and let another person act before the decision is written."""
        known = await original(*arguments, **options)
        monkeypatch.setattr(store, "read_known", original)
        if not first:
            first.append(await asyncio.to_thread(ran, stack, "hold", "winback", actor="bob"))
        return known

    monkeypatch.setattr(store, "read_known", slow)
    with pytest.raises(UserError, match="another publisher committed first; nothing was written"):
        act = acting(load(), now_ms=wall_ms())
        asyncio.run(actions.act_on(stack.settings, "winback", "pause", act))
    assert first[0].exit_code == 0
    assert shown(stack)["state"] == "held"
    assert audit(stack)[-1] == ("bob", "hold", "active", "held")


@rest
@pytest.mark.parametrize(("point", "state"), [("_send", "active"), ("_write", "retired")])
def test_killed_action_is_done_as_a_whole_or_not_at_all(
    stack: Stack, broker: LocalBroker, point: str, state: str
) -> None:
    require_transactions(broker)
    started(stack)
    approved(stack)
    before = audit(stack)
    who = {"SEGOPS_ACTOR": "ann", "SEGOPS_ACTOR_TOKEN": TOKENS["ann"], **SIGNED}
    kill(stack, point, "audiences", "retire", "winback", **who)
    assert shown(stack)["state"] == state
    gone = state == "retired"
    assert ("audience.winback" in asyncio.run(read(stack.settings)).live) is not gone
    assert audit(stack) == before + [("ann", "retire", "active", "retired")] * gone
    assert ran(stack, "audit").exit_code == 0


@rest
def test_forged_records_start_nothing_and_are_shown(stack: Stack) -> None:
    started(stack)
    approved(stack)
    done(stack, "hold", "winback")
    topics = stack.settings.topics
    record = asyncio.run(read_known(stack.settings, now_ms=0)).records["winback"]
    entry = json.loads(bytes(record.latest.entry))  # type: ignore[union-attr]

    async def write(topic: str, key: bytes, value: bytes) -> None:
        async with AIOKafkaProducer(bootstrap_servers=stack.bootstrap_servers) as producer:
            await producer.send_and_wait(topic, value, key=key, partition=0)

    forged: AudienceRecord = msgspec.structs.replace(record, state="active")
    asyncio.run(write(topics.audiences, b"winback", encode_record(forged)))
    assert (shown(stack)["state"], shown(stack)["void"]) == ("draft", ["its approval is missing or forged"])
    odd = msgspec.json.encode(
        {"entry": {**entry, "number": 6, "action": "release"}, "signature": "hmac-sha256:00"}
    )
    asyncio.run(write(topics.audit, b"forged", odd))
    asyncio.run(write(topics.audit, b"odd", b"{}"))
    found = ran(stack, "audit", "winback")
    assert found.exit_code == 1
    assert "winback, number 6: " in found.stderr and "1 records are no audit entries" in found.stderr
    assert "winback has 5 entries, and the last one here is 6" in found.stderr


@rest
def test_segment_commands_leave_audiences_alone(stack: Stack) -> None:
    stack.publish(SEGMENTS)
    done(stack, "apply", written(stack, AUDIENCE))
    stack.publish(SEGMENTS, prune=True)
    assert "audience.winback" in asyncio.run(read(stack.settings)).live
    for verb in ("retire", "pause", "resume"):
        why = str(stack.segops(verb, "audience.winback").exception)
        assert f"it is an audience; use `segops audiences {verb} winback`" in why
    assert "no segments in" in str(stack.segops("apply", written(stack, AUDIENCE)).exception)
    unknown = AUDIENCE.replace("segment: at-risk", "segment: nowhere").replace("key: winback", "key: other")
    assert "in_segment: unknown segment nowhere" in refused(stack, "apply", written(stack, unknown))
    assert "unknown audience 'other'; published: winback" in refused(stack, "retire", "other")
    assert "SEGOPS_ACTOR_TOKEN is not the token" in refused(
        stack, "retire", "winback", SEGOPS_ACTOR_TOKEN="x"
    )
    assert "SEGOPS_AUDIT_KEY is required" in refused(
        stack, "retire", "winback", SEGOPS_AUDIT_KEY="", SEGOPS_APPROVAL="self"
    )
    assert "SEGOPS_AUDIT_KEY is required" in refused(
        stack, "apply", written(stack, AUDIENCE), SEGOPS_AUDIT_KEY="", SEGOPS_APPROVAL="self"
    )
    assert "SEGOPS_ACTOR is required" in refused(stack, "retire", "winback", SEGOPS_ACTOR="")
