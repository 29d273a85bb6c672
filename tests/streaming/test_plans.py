"""Plans on a running system: their numbers equal what publishing does, limits hold, plans end."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from segops.core.errors import UserError
from segops.kafka.clients import running_consumer
from segops.kafka.definitions import read, require_topic
from segops.kafka.reading import read_to_end
from segops.operations import plans
from segops.operations.plan_changes import state_of
from segops.schemas import planned as records_of_plans
from segops.schemas.planned import PLAN_KEY, PlannedEdit, encode_planned
from tests.rest import rest

from .helpers import DAY_MS, Stack, expected_changes, wait_until
from .test_scans import FINAL_MS, SEGMENTS, lived

pytestmark = pytest.mark.broker
#: Another threshold, a new segment, one retired; `again` follows `viewers`, and `dormant` follows `buyers`.
EDITED = """
version: 1
segments:
  - {key: viewers, when: {did: Product Viewed, count: {gte: 2}, within: 20h}}
  - {key: buyers, when: {did: Order Completed, within: 2d}, membership: {min_stay: 3d}}
  - {key: month, when: {did: Order Completed, within: 25d}}
  - {key: window, when: {all: [{in_segment: viewers}, {not: {in_segment: buyers}}]}}
  - key: again
    when: {all: [{not: {in_segment: viewers}}, {in_segment: month}]}
    membership: {cool_down: 1d}
  - {key: this-month, when: {did: Page Seen, calendar: {this: month, zone: Europe/Paris}}}
  - {key: dormant, when: {all: [{known_for: 12d}, {not: {in_segment: buyers}}]}}
  - key: recent
    when: {score: recency_days, enter: {lt: 5}, exit: {gte: 12}}
"""
DESCRIBED = SEGMENTS.replace("{key: month,", "{key: month, description: of the month,")


@pytest.fixture
def edited(stack: Stack) -> str:
    return written(stack, "edited.yaml", EDITED)


def written(stack: Stack, name: str, text: str) -> str:
    file: Path = stack.folder / name
    file.write_text(text)
    return str(file)


def records(stack: Stack) -> list[tuple[bytes | None, bytes | None]]:
    """Return the keys and values of the segments topic."""

    async def work() -> list[tuple[bytes | None, bytes | None]]:
        part = await require_topic(stack.settings)
        async with running_consumer(stack.settings.kafka) as consumer:
            consumer.assign([part])
            await consumer.seek_to_beginning(part)
            return [(record.key, record.value) async for record in read_to_end(consumer, [part])]

    return asyncio.run(work())


def done(stack: Stack, *arguments: str) -> Result:
    found = stack.segops(*arguments)
    assert found.exit_code == 0, (found.output, found.exception)
    return found


def planned(stack: Stack, *arguments: str) -> dict[str, Any]:
    form: dict[str, Any] = json.loads(done(stack, "plan", *arguments, "--format", "json").stdout)
    return form


def refused(stack: Stack, *arguments: str) -> str:
    """Return the message with which a command is refused, after checking that it published nothing."""
    before = records(stack)
    found = stack.segops(*arguments)
    assert isinstance(found.exception, UserError), (found.output, found.exception)
    assert records(stack) == before
    return str(found.exception)


def running(stack: Stack, *, number: int = 0, crash_at: str = "") -> dict[str, dict[str, Any]]:
    """Start workers, send a day of events, and return the changes once all are published."""
    sent = lived(stack)
    stack.start(number=number, crash_at=crash_at)
    expected = expected_changes(sent, stack.definitions, FINAL_MS)
    stack.wait_for_changes(expected)
    return expected


def changes_since(stack: Stack, before: dict[str, Any]) -> list[dict[str, Any]]:
    values = [json.loads(record.value) for record in stack.read(stack.settings.topics.membership_changes)]
    found = {change["change_id"]: change for change in values}
    return [change for key, change in found.items() if key not in before]


def flows(changes: list[dict[str, Any]], reason: str) -> Counter[tuple[str, bool]]:
    return Counter((each["segment_key"], each["member"]) for each in changes if each["reason"] == reason)


def moves(plan: dict[str, Any], entering: str = "entering", leaving: str = "leaving") -> Counter[Any]:
    """Return the numbers of a plan by segment and direction."""
    found = Counter[Any]()
    for each in plan["segments"]:
        found[each["segment_key"], True] = each[entering]
        found[each["segment_key"], False] = each[leaving]
    return +found


def published(stack: Stack, before: dict[str, Any], plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the changes since, once there are as many as planned."""
    number = moves(plan).total()
    wait_until(lambda: len(changes_since(stack, before)) >= number, "the edit is published", stack.diagnosis)
    return changes_since(stack, before)


def test_plan_equals_what_is_published_change_for_change(stack: Stack, guarantee: str, edited: str) -> None:
    stack.guarantee = guarantee
    before = running(stack)
    plan = planned(stack, edited, "--prune", "--samples", "3")
    assert (plan["profiles"], plan["unreadable"], plan["cut"]) == (60, 0, 0)
    assert plan["from_ms"] == plan["to_ms"] == FINAL_MS
    assert {each["segment_key"]: each["action"] for each in plan["segments"]} == {
        "again": "follows",
        "buyers": "changed",
        "dormant": "follows",
        "loyal": "retired",
        "viewers": "changed",
        "window": "added",
    }
    done(stack, "apply", "--plan", plan["id"])
    assert flows(published(stack, before, plan), "definition") == moves(plan)
    assert moves(plan).total() > 40
    (listed,) = json.loads(done(stack, "plan", "--list", "--format", "json").stdout)
    assert (listed["id"], listed["state"]) == (plan["id"], "applied")
    figures = {each["segment_key"]: each for each in listed["figures"]["segments"]}
    assert figures == {
        each["segment_key"]: {name: each[name] for name in figures[each["segment_key"]]}
        for each in plan["segments"]
    }
    stack.send([], final_ms=FINAL_MS + DAY_MS - 1)
    later = moves(plan, "entering_24h", "leaving_24h")
    moved = {each["segment_key"] for each in plan["segments"]}

    def by_time() -> Counter[Any]:
        found = flows(changes_since(stack, before), "time")
        return Counter({key: number for key, number in found.items() if key[0] in moved})

    wait_until(lambda: by_time().total() >= later.total(), "a day passes", stack.diagnosis)
    assert by_time() == later and later.total() > 10
    assert flows(changes_since(stack, before), "definition") == moves(plan)


@rest
@pytest.mark.usefixtures("several_workers")
def test_plan_survives_the_kill_of_a_worker(stack: Stack, guarantee: str, edited: str) -> None:
    stack.guarantee = guarantee
    sent = lived(stack)
    doomed = stack.start(number=0, crash_at="during_scan:1")
    stack.start(number=1)
    wait_until(
        lambda: stack.owned_partitions(0) and stack.owned_partitions(1), "both own some", stack.diagnosis
    )
    before = expected_changes(sent, stack.definitions, FINAL_MS)
    stack.wait_for_changes(before)
    plan = planned(stack, edited, "--prune")
    assert doomed.wait(0) == 137
    done(stack, "apply", "--plan", plan["id"])
    assert flows(published(stack, before, plan), "definition") == moves(plan)


@rest
def test_limits_samples_and_texts(stack: Stack, edited: str) -> None:
    before = running(stack)
    table = done(stack, "plan", edited, "--samples", "2", "--max-changes", "0").output
    assert "to publish it: segops apply --plan " in table and table.rstrip().endswith("--yes")
    assert re.search(r"\S+, (entering|leaving|staying): user_id:u", table)
    assert re.search(r"warning: \S+ moves more than the limits allow: \d+ changes", table)
    plan = planned(stack, edited)
    samples = planned(stack, edited, "--samples", "2")["segments"][-1]["samples"]
    assert samples and all(1 <= len(ids) <= 2 for ids in samples.values())
    too_much = refused(stack, "apply", edited, "--max-changes", "0")
    assert "nothing was published: it would move more than 0 changes or 20 % of a segment" in too_much
    assert "--yes" in too_much and re.search(r"\n  \S+: \d+ changes\n", too_much)
    done(stack, "apply", edited)  # within the default limits
    assert flows(published(stack, before, plan), "definition") == moves(plan)
    recorded = records(stack)
    again = planned(stack, edited)
    assert (again["segments"], again["id"]) == ([], None)
    assert "nothing to change" in done(stack, "plan", edited).stdout
    assert records(stack) == recorded
    back = planned(stack, written(stack, "original.yaml", SEGMENTS))  # once the workers have adopted the edit
    assert moves(back).total() > 0
    assert f"the latest one is {back['id']}" in refused(stack, "apply", "--plan", plan["id"])


@rest
def test_edit_without_running_workers_needs_a_confirmation(stack: Stack, edited: str) -> None:
    stack.publish(SEGMENTS)
    assert "no worker of" in refused(stack, "plan", edited)
    never = "version: 1\nsegments: [{key: never, when: {did: Nothing}}]\n"
    assert "1 added" in done(stack, "apply", written(stack, "never.yaml", never)).stdout  # no worker yet
    running(stack)
    stack.stop()
    wait_until(lambda: not stack.members(), "the group is empty", stack.diagnosis)
    message = refused(stack, "apply", edited)
    assert "is running" in message and "--yes publishes without knowing the effect" in message
    assert "2 changed" in done(stack, "apply", edited, "--yes").stdout


@rest
def test_plans_end(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    stack.publish(SEGMENTS)
    described = written(stack, "described.yaml", DESCRIBED)
    assert "there is none" in refused(stack, "apply", "--plan", "unknown")
    assert "there is no plan to discard" in refused(stack, "plan", "--discard")

    first = planned(stack, described)["id"]
    replacing = planned(stack, described)
    second = replacing["id"]
    assert replacing["replaced"] == first
    replaced = refused(stack, "apply", "--plan", first)
    assert f"unknown plan '{first}': the latest one is {second}" in replaced
    assert done(stack, "plan", "--discard").stdout == f"discarded the plan {second}\n"
    assert refused(stack, "apply", "--plan", second) == f"the plan {second} was discarded"
    assert "there is no plan to discard" in refused(stack, "plan", "--discard")

    outdated = planned(stack, described)["id"]
    other = SEGMENTS.replace("{key: buyers,", "{key: buyers, description: all of them,")
    done(stack, "apply", written(stack, "other.yaml", other))
    assert "the definitions were changed since; plan again" in refused(stack, "apply", "--plan", outdated)

    expired = planned(stack, described)["id"]
    with monkeypatch.context() as patch:
        patch.setattr(records_of_plans, "VALID_MS", 0)
        assert f"the plan {expired} expired at" in refused(stack, "apply", "--plan", expired)
    dry = done(stack, "apply", "--plan", expired, "--dry-run").stdout
    assert "nothing was written (dry run)" in dry and "~ month  version 1  described" in dry
    assert "~ month  version 1  described" in done(stack, "apply", "--plan", expired).stdout
    assert refused(stack, "apply", "--plan", expired) == f"the plan {expired} was applied"


def test_of_two_plans_at_once_one_remains(stack: Stack) -> None:
    stack.publish(SEGMENTS)

    async def both() -> tuple[list[Any], PlannedEdit | None]:
        log = await read(stack.settings)
        base = state_of(log)
        made = await asyncio.gather(
            *(plans.record(stack.settings, [], base) for _ in range(2)), return_exceptions=True
        )
        return made, (await read(stack.settings)).planned

    made, left = asyncio.run(both())
    ids = [each.planned.id for each in made if isinstance(each, plans.Recorded)]
    errors = [str(each) for each in made if isinstance(each, BaseException)]
    assert left is not None and left.id in ids
    assert all("another publisher committed first" in error for error in errors), made


def test_definitions_published_during_the_check_are_not_overwritten(
    stack: Stack, edited: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.publish(SEGMENTS)

    async def checked(*_: Any) -> plans.Effect:
        return plans.Effect([], "the state that was checked", frozenset(), [], plans._NOTHING_SCANNED)

    async def may_move(*_: Any) -> bool:
        return True

    monkeypatch.setattr(plans, "_checked", checked)
    monkeypatch.setattr(plans, "may_move", may_move)
    assert "other definitions were published meanwhile" in refused(stack, "apply", edited)


def test_workers_pass_over_plans(stack: Stack, guarantee: str) -> None:
    stack.guarantee = guarantee
    before = running(stack)
    plan = planned(stack, written(stack, "described.yaml", DESCRIBED))
    assert plan["segments"] == []
    log = asyncio.run(read(stack.settings))
    assert log.planned is not None and log.planned.id == plan["id"]
    assert records(stack)[-1] == (PLAN_KEY, encode_planned(log.planned))
    assert changes_since(stack, before) == []
