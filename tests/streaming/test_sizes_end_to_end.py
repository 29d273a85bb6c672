"""Sizes and trends of workers, read back, equal a recount of the published changes."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from click.testing import CliRunner

from segops.cli import cli
from segops.core.segments import Definition
from tests.rest import in_rest

from .helpers import DAY_MS, START_MS, Stack, expected_changes, shop_events, wait_until

FINAL_MS = START_MS + 2 * DAY_MS


def page(stack: Stack, path: str) -> Any:
    status, body = stack.get(path)
    return json.loads(body) if status == 200 else None


def sizes(stack: Stack) -> dict[str, Any]:
    return {each["key"]: each for each in (page(stack, "/segments") or {"segments": []})["segments"]}


def recounted(changes: list[dict[str, Any]], definitions: list[Definition]) -> dict[str, dict[str, Any]]:
    """Return per segment what its size should say, from the changes alone."""
    found: dict[str, dict[str, Any]] = {}
    for definition in definitions:
        mine = [change for change in changes if change["segment_key"] == definition.key]
        entered = Counter(change["reason"] for change in mine if change["member"])
        left = Counter(change["reason"] for change in mine if not change["member"])
        found[definition.key] = {
            "members": entered.total() - left.total(),
            "entered": dict(entered),
            "left": dict(left),
            "complete": True,
        }
    return found


def shown(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what ``recounted`` has, of the pages of segments; counts of 0 are left out."""
    return {
        key: {
            "members": each["members"],
            "entered": {reason: n for reason, n in each["entered"].items() if n},
            "left": {reason: n for reason, n in each["left"].items() if n},
            "complete": each["complete"],
        }
        for key, each in found.items()
    }


def trend(stack: Stack, key: str) -> list[dict[str, int]]:
    found: list[dict[str, int]] = page(stack, f"/segments/{key}/trend?step=1h&from=2025-10-09T08:00:00Z")[
        "steps"
    ]
    return found


def flows(stack: Stack, keys: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Return the entries and exits of each trend."""
    trends = {key: trend(stack, key) for key in keys}
    return {
        key: (sum(step["adds"] for step in steps), sum(step["drops"] for step in steps))
        for key, steps in trends.items()
    }


def flows_of(recount: dict[str, dict[str, Any]]) -> dict[str, tuple[int, int]]:
    return {key: (sum(e["entered"].values()), sum(e["left"].values())) for key, e in recount.items()}


@pytest.mark.broker
@pytest.mark.parametrize("killed", [False, in_rest(True)], ids=["", "killed in between"])
def test_sizes_and_trends_equal_the_changes(stack: Stack, guarantee: str, killed: bool) -> None:
    stack.guarantee = guarantee
    stack.publish()
    sent = shop_events(1_500, users=60, partitions=stack.partitions)
    expected = expected_changes(sent, stack.definitions, FINAL_MS)
    worker = stack.start()
    if killed:
        stack.send(sent[:900])
        wait_until(lambda: any(each["members"] for each in sizes(stack).values()), "sizes", stack.diagnosis)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        stack.start()
    stack.send(sent[900:] if killed else sent, final_ms=FINAL_MS)
    stack.wait_for_changes(expected)
    recount = recounted(list(expected.values()), stack.definitions)
    wait_until(lambda: shown(sizes(stack)) == recount, "the sizes", lambda: str((sizes(stack), recount)))

    # A minute is published after its end, so time has to go on.
    stack.send([], final_ms=FINAL_MS + DAY_MS)
    wait_until(lambda: flows(stack, recount) == flows_of(recount), "the trends", stack.diagnosis)
    for key, each in recount.items():
        members = 0  # minutes are those of the partitions' clocks, which lag behind the instants of changes
        for step in trend(stack, key):
            members += step["adds"] - step["drops"]
            assert step["members"] == members
        assert members == each["members"]
    where = {"SEGOPS_KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap_servers, "SEGOPS_TOPIC_PREFIX": stack.name}
    as_json = json.loads(CliRunner().invoke(cli, ["sizes", "--format", "json"], env=where).output)
    assert {each["key"]: each["members"] for each in as_json["segments"]} == {
        key: each["members"] for key, each in recount.items()
    }
    table = CliRunner().invoke(cli, ["sizes"], env=where).output.splitlines()
    assert [row.split()[:2] for row in table[1:]] == [
        [k, f"{e['members']:,}"] for k, e in sorted(recount.items())
    ]
    assert page(stack, "/population")["known"] == len({json.loads(event.value)["userId"] for event in sent})
