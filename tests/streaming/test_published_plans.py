"""The topic of plans says how each ended, exactly as the definitions do, whatever kills the publisher."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from segops.brokers import LocalBroker
from segops.core.errors import UserError
from segops.kafka.definitions import read
from segops.operations.plan_log import read_plans
from segops.schemas import planned as records_of_plans
from segops.schemas.published_plans import PublishedPlan
from tests.rest import in_rest, rest

from .conftest import require_transactions
from .helpers import Stack
from .test_plans import DESCRIBED, done, planned, refused, written
from .test_scans import SEGMENTS
from .topic_deletion import delete_topics

pytestmark = pytest.mark.broker
OTHER = SEGMENTS.replace("{key: buyers,", "{key: buyers, description: all of them,")
#: A publisher that is killed: with its transaction open, or once it is committed.
KILLED = """
import os, sys
from segops.kafka import publication
from segops.cli import main
name = sys.argv.pop(1)
original = getattr(publication, name)
async def killed(*arguments):
    await original(*arguments)
    os._exit(137)
setattr(publication, name, killed)
main()
"""


def plans_in(stack: Stack) -> dict[str, PublishedPlan]:
    return asyncio.run(read_plans(stack.settings))


def states(stack: Stack) -> dict[str, tuple[str, str | None]]:
    return {key: (each.state, each.superseded_by) for key, each in plans_in(stack).items()}


def listed(stack: Stack) -> dict[str, str]:
    found: list[dict[str, Any]] = json.loads(done(stack, "plan", "--list", "--format", "json").stdout)
    return {each["id"]: each["state"] for each in found}


def kill(stack: Stack, point: str, *arguments: str, **more: str) -> None:
    """Run a command, with more variables, whose publisher is killed at a point."""
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("SEGOPS_")},
        "SEGOPS_KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
        "SEGOPS_APP_ID": stack.settings.worker.app_id,
        "SEGOPS_TOPIC_PREFIX": stack.name,
        "SEGOPS_PARTITIONS": str(stack.partitions),
        **more,
    }
    command = [sys.executable, "-c", KILLED, point, *arguments]
    killed = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert killed.returncode == 137, killed.stderr


def test_topic_says_how_each_plan_ended(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    stack.publish(SEGMENTS)
    described, other = written(stack, "described.yaml", DESCRIBED), written(stack, "other.yaml", OTHER)
    assert done(stack, "plan", "--list").stdout == "no plans yet\n"
    first, second = planned(stack, described)["id"], planned(stack, described)["id"]
    done(stack, "plan", "--discard")
    third = planned(stack, described)["id"]
    done(stack, "apply", other)
    fourth = planned(stack, described)["id"]
    done(stack, "apply", "--plan", fourth)
    with monkeypatch.context() as patch:
        patch.setattr(records_of_plans, "VALID_MS", 0)
        fifth = planned(stack, other)["id"]
        assert (states(stack)[fifth], listed(stack)[fifth]) == (("open", None), "expired")
        sixth = planned(stack, other)["id"]
    assert states(stack) == {
        first: ("superseded", second),
        second: ("discarded", None),
        third: ("superseded", None),
        fourth: ("applied", None),
        fifth: ("expired", None),
        sixth: ("open", None),
    }
    found = plans_in(stack)
    assert all(each.figures is not None and each.figures.segments == [] for each in found.values())
    assert all(each.ended_ms is not None for key, each in found.items() if key != sixth)
    assert found[fifth].ended_ms == found[fifth].expires_ms == found[fifth].made_ms
    assert len({each.base for each in found.values()}) == 3  # at first, after `other`, and after the fourth


@pytest.mark.parametrize(
    ("point", "state"), [("_send", "open"), in_rest("_write", "applied")], ids=["in_transaction", "committed"]
)
def test_killed_publisher_leaves_what_the_definitions_say(
    stack: Stack, broker: LocalBroker, point: str, state: str
) -> None:
    require_transactions(broker)
    stack.publish(SEGMENTS)
    plan_id = planned(stack, written(stack, "described.yaml", DESCRIBED))["id"]
    kill(stack, point, "apply", "--plan", plan_id)
    log = asyncio.run(read(stack.settings))
    assert log.planned is not None
    assert (log.planned.id, log.planned.state) == (plan_id, state)
    assert log.live["month"].description == ("of the month" if state == "applied" else "")
    assert states(stack) == {plan_id: (state, None)}
    if state == "open":
        done(stack, "apply", "--plan", plan_id)
        assert asyncio.run(read(stack.settings)).live["month"].description == "of the month"
        assert states(stack) == {plan_id: ("applied", None)}
    assert refused(stack, "apply", "--plan", plan_id) == f"the plan {plan_id} was applied"


@rest
def test_plan_that_is_killed_while_it_is_recorded_is_whole_or_not_there(
    stack: Stack, broker: LocalBroker
) -> None:
    require_transactions(broker)
    stack.publish(SEGMENTS)
    described = written(stack, "described.yaml", DESCRIBED)
    kill(stack, "_send", "plan", described)
    assert asyncio.run(read(stack.settings)).planned is None and states(stack) == {}
    kill(stack, "_write", "plan", described)
    log = asyncio.run(read(stack.settings))
    assert log.planned is not None and states(stack) == {log.planned.id: ("open", None)}


@rest
def test_without_the_topic_plans_are_refused_and_definitions_are_published(stack: Stack) -> None:
    """As after an upgrade, before a worker or `segops topics create` has created it."""
    stack.publish(SEGMENTS)
    described = written(stack, "described.yaml", DESCRIBED)
    plan_id = planned(stack, described)["id"]
    delete_topics(stack, [stack.settings.topics.plans])
    assert "missing topics: " in refused(stack, "plan", written(stack, "other.yaml", OTHER))
    listing = stack.segops("plan", "--list")
    assert isinstance(listing.exception, UserError) and "segops topics create" in str(listing.exception)
    done(stack, "apply", "--plan", plan_id)
    log = asyncio.run(read(stack.settings))
    assert log.planned is not None and log.planned.state == "applied"
    done(stack, "topics", "create")
    assert states(stack) == {}
