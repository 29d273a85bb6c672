"""Plans that need history on a running system: it is collected once, and the numbers are exact."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from functools import partial
from typing import Any

import pytest

from segops.core.errors import SegopsError
from segops.kafka.definitions import read
from segops.operations import plans
from segops.schemas.scans import ScanTimeout
from segops.stores.rocksdb import RocksDBStores
from tests.rest import rest

from .helpers import Stack, wait_until
from .test_plans import (
    EDITED,
    changes_since,
    done,
    edited,
    flows,
    moves,
    planned,
    published,
    refused,
    running,
    written,
)

__all__ = ["edited"]

pytestmark = pytest.mark.broker
#: Two figures that profiles do not hold: of a new segment, and of one that `dormant` and `window` refer to.
PAST = EDITED.replace(
    "segments:\n", "segments:\n  - {key: keen, when: {did: Product Viewed, count: {gte: 9}, within: 5d}}\n", 1
).replace(
    "{did: Order Completed, within: 2d}", "{sum: total, of: Order Completed, is: {gte: 40}, within: 9d}"
)


@pytest.fixture
def past(stack: Stack) -> str:
    return written(stack, "past.yaml", PAST)


def past_read(stack: Stack, number: int = 0) -> float:
    """Return how many records of history a worker has read."""
    found = re.search(r"^segops_backfill_records_total (\S+)", stack.get("/metrics", number)[1], re.MULTILINE)
    return 0.0 if found is None else float(found[1])


def all_flows(stack: Stack, before: dict[str, Any]) -> Counter[tuple[str, bool]]:
    found = changes_since(stack, before)
    return flows(found, "definition") + flows(found, "backfill")


def owners_of_rows(stack: Stack) -> int:
    """Return how many owners of rows the stores of the stopped worker hold."""
    folder = stack.data_dir() / "worker-0" / "profiles"
    stores = RocksDBStores(folder, block_cache_bytes=1 << 20, write_buffer_bytes=1 << 20)
    found = 0
    for number in range(stack.partitions):
        store = stores.open(number)
        found += len(store.row_owners(None, 1_000))
        store.close()
    return found


def interrupted(stack: Stack, *arguments: str) -> str:
    """Plan for less time than it takes; return the id of the plan for which history is still collected."""
    found = stack.segops("plan", *arguments)
    assert isinstance(found.exception, ScanTimeout), (found.output, found.exception)
    match = re.search(
        r"go on collecting history for the plan (\w+): repeat this command$", str(found.exception)
    )
    assert match is not None, found.exception
    return match[1]


def test_plan_that_needs_history_equals_what_is_published(stack: Stack, guarantee: str, past: str) -> None:
    stack.guarantee = guarantee
    before = running(stack)
    plan = planned(stack, past, "--prune", "--samples", "2")
    assert {each["segment_key"]: each["lacking"] for each in plan["segments"] if each["lacking"]} == {
        "keen": ["count of Product Viewed within 5d"],
        **{key: ["sum of total over Order Completed within 9d"] for key in ("buyers", "dormant", "window")},
    }
    assert changes_since(stack, before) == []
    read_before = past_read(stack)
    assert read_before > 0 and moves(plan).total() > 40 and moves(plan)["keen", True] > 0
    assert planned(stack, past, "--prune")["id"] == plan["id"]  # the same plan goes on
    text = done(stack, "apply", "--plan", plan["id"], "--max-changes", "1000").stdout
    assert "history" not in text
    published(stack, before, plan)
    assert all_flows(stack, before) == moves(plan)
    assert planned(stack, past, "--prune")["segments"] == []
    assert all_flows(stack, before) == moves(plan)
    assert past_read(stack) == read_before, "history was read again"


@pytest.mark.usefixtures("several_workers")
@pytest.mark.parametrize("point", ["during_backfill_read:2", "during_backfill:1", "during_scan:1"])
@rest
def test_kill_while_a_draft_is_collected(stack: Stack, guarantee: str, past: str, point: str) -> None:
    stack.guarantee = guarantee
    before = running(stack, crash_at=point)
    plan_id = interrupted(stack, past, "--prune", "--timeout", "8")
    assert stack.workers[0].wait(60) == 137
    stack.start(number=1)
    wait_until(lambda: stack.owned_partitions(1), "a worker again", stack.diagnosis)
    plan = planned(stack, past, "--prune")
    assert plan["id"] == plan_id
    assert changes_since(stack, before) == []
    done(stack, "apply", "--plan", plan["id"])
    published(stack, before, plan)
    assert all_flows(stack, before) == moves(plan)


@rest
def test_discarded_draft_leaves_no_rows(stack: Stack, past: str) -> None:
    before = running(stack)
    plan = planned(stack, past, "--prune")
    stack.stop()
    assert owners_of_rows(stack) > 0
    stack.start()
    wait_until(lambda: bool(stack.owned_partitions()), "ready", stack.diagnosis)
    assert done(stack, "plan", "--discard").stdout == f"discarded the plan {plan['id']}\n"
    assert refused(stack, "apply", "--plan", plan["id"]) == f"the plan {plan['id']} was discarded"
    log = stack.folder / "worker-0.log"
    wait_until(
        lambda: log.read_text().count("no longer collects history") == stack.partitions,
        "the draft is given up",
        stack.diagnosis,
    )
    stack.stop()
    assert owners_of_rows(stack) == 0
    assert changes_since(stack, before) == []


@rest
def test_publication_of_others_ends_a_draft_and_limits_hold_for_it(
    stack: Stack, past: str, edited: str
) -> None:
    before = running(stack)
    plan = planned(stack, past, "--prune")
    too_much = refused(stack, "apply", "--plan", plan["id"], "--max-changes", "0")
    assert "keen" in too_much and "waits for history" not in too_much
    done(stack, "apply", edited)
    outdated = f"the plan {plan['id']} is outdated: the definitions were changed since; plan again"
    assert refused(stack, "apply", "--plan", plan["id"]) == outdated
    log = asyncio.run(read(stack.settings))
    assert log.planned is not None and log.planned.state == "superseded"
    again = planned(stack, past, "--prune")
    seen = all_flows(stack, before)
    done(stack, "apply", past, "--prune")  # exactly the plan, which it applies
    wait_until(
        lambda: all_flows(stack, before) - seen == moves(again), "the edit is published", stack.diagnosis
    )
    assert refused(stack, "apply", "--plan", again["id"]) == f"the plan {again['id']} was applied"


@rest
def test_plan_that_ends_while_it_is_waited_for_is_an_error(
    stack: Stack, past: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    running(stack)
    stack.stop()
    monkeypatch.setattr(plans, "require_worker", _nothing)
    monkeypatch.setattr(plans, "_LOOK_S", 0.2)
    plan_id = interrupted(stack, past, "--timeout", "2")

    async def ended_meanwhile() -> None:
        decide = partial(plans.changes_of, plan_id=plan_id)
        waiting = asyncio.ensure_future(plans.effect_of(stack.settings, decide, plans.Wait(60)))
        await plans.discard(stack.settings)
        await waiting

    with pytest.raises(SegopsError, match=f"the plan {plan_id} was discarded"):
        asyncio.run(ended_meanwhile())


async def _nothing(_: object) -> None: ...
