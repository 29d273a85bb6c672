"""The demo as a user runs it, on the session's broker."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from segops import config
from segops.brokers import LocalBroker
from tests.rest import in_rest

pytestmark = pytest.mark.broker

DEADLINE_S = 240
COMMAND = [sys.executable, "-P", "-c", "from segops.cli import main; main()", "demo"]


@pytest.fixture
def environment(broker: LocalBroker) -> dict[str, str]:
    ours = {name for name, _, _ in config.variables()}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return kept | {"SEGOPS_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers}


@pytest.mark.parametrize("processes", [in_rest("1"), "2"])
def test_every_change_equals_the_replay(environment: dict[str, str], tmp_path: Path, processes: str) -> None:
    options = ["--broker", "own", "--limit", "3000", "--rate", "0", "--processes", processes]
    folder = tmp_path / "demo"
    done = subprocess.run(
        [*COMMAND, *options, "--data-dir", str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    verified = re.search(r"VERIFIED: ([\d,]+) changes of ([\d,]+) profiles .* no differences", done.stdout)
    assert_delivered(done.stdout)
    assert verified is not None, done.stdout
    expected = (folder / "expected.jsonl").read_bytes().splitlines()
    assert int(verified[1].replace(",", "")) == len(expected) > 5_000
    merged = re.search(r"merge of ([\d,]+) visitors with their accounts", done.stdout)
    assert merged is not None and int(merged[1].replace(",", "")) > 5, done.stdout
    assert re.search(r"^\d{4}-\d\d-\d\d  [\d,]+ of", done.stdout, re.MULTILINE), "the clock is shown"
    assert "0 duplicates, 0 late events, 0 dead letters" in done.stdout
    collected = re.search(r"([\d,]+) of the events came through the collector", done.stdout)
    assert collected is not None and int(collected[1].replace(",", "")) > 300, done.stdout
    assert "1 was sent twice, and counts once" in done.stdout
    assert_edited(done.stdout, [json.loads(line) for line in expected])


def assert_delivered(said: str) -> None:
    """Check that the audience was approved, and that destinations were compared when they had members."""
    assert "$ segops audiences approve vip-offer --plan " in said
    told = re.search(r"vip-offer: ([\d,]+) entries and ([\d,]+) exits went to a webhook", said)
    assert told is not None and told[1] == told[2], said
    members = re.search(r"the (\d+) members after the approval, the (\d+) at the last order, and the 0", said)
    assert members is not None and min(int(members[1]), int(members[2])) > 10, said
    held = re.search(r"After (\d+) entries the breaker held it: (\d+) time", said)
    assert held is not None and int(told[1]) <= int(held[1]) * (1 + int(held[2])), said


def assert_edited(said: str, changes: list[dict[str, Any]]) -> None:
    """Check that the edit was planned and applied, and that its changes are those of the replay."""
    assert "$ segops plan segments/\n" in said
    assert re.search(r"^\$ segops apply --plan \w+", said, re.MULTILINE), said
    assert "+ regulars  version 1  added\n~ vip  version 2  changed\n" in said
    entered = [each for each in changes if each["reason"] == "backfill"]
    assert "$ segops models publish buying.json --yes\n" in said
    assert "buying  version 1 is in force\n" in said
    counted = Counter(each["segment_key"] for each in entered)
    assert counted.keys() == {"regulars", "churn-risk", "likely-buyers"}
    regulars = counted["regulars"]
    assert re.search(rf"^  Regulars +{regulars} entered \(backfill\)$", said, re.MULTILINE), said
    edited = [each for each in changes if each["reason"] == "definition"]
    assert {each["segment_key"] for each in edited} == {"vip", "audience.vip-offer"}
    moved = Counter(each["action"] for each in edited if each["segment_key"] == "vip")
    planned = rows(said)
    assert planned["regulars"] == [1, 0, regulars, regulars, 0]
    assert planned["vip"][3:] == [moved["entered"], moved["exited"]]
    shown = f"{moved['entered']} entered (definition), {moved['exited']} exited (definition)"
    assert shown in said and min(moved["entered"], moved["exited"]) > 0, said


def rows(said: str) -> dict[str, list[int]]:
    """Return version, members, then, entering and leaving of each segment in the plan."""
    found = re.findall(r"^(\w+)((?: +[\d,]+){5}) .*(?:added|changed)$", said, re.MULTILINE)
    return {key: [int(each.replace(",", "")) for each in figures.split()] for key, figures in found}


@pytest.fixture
def running_demo(environment: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    options = ["--broker", "own", "--limit", "200", "--rate", "0", "--keep", "--data-dir", str(tmp_path)]
    process = subprocess.Popen(
        [*COMMAND, *options], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    yield process
    process.kill()
    process.communicate()


def test_a_kept_demo_can_be_watched_and_cleans_up(
    running_demo: subprocess.Popen[str], environment: dict[str, str]
) -> None:
    assert running_demo.stdout is not None
    said = []
    for line in running_demo.stdout:
        said.append(line)
        if "Ctrl-C here stops them" in line:
            break
    exports = dict(re.findall(r"(SEGOPS_\w+)=(\S+)", "".join(said)))
    watch = [sys.executable, "-P", "-c", "from segops.cli import main; main()", "watch", "--once"]
    sizes = subprocess.run(
        watch, env=environment | exports, capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert re.search(r"lapsed +\d+ +Lapsed", sizes.stdout), sizes.stdout + sizes.stderr
    running_demo.send_signal(signal.SIGTERM)
    assert running_demo.wait(DEADLINE_S) == 0
    gone = subprocess.run(
        watch, env=environment | exports, capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert gone.returncode == 2
    assert "missing topics" in gone.stderr


def test_an_interrupted_demo_ends_every_process_it_started(
    environment: dict[str, str], tmp_path: Path
) -> None:
    options = ["--broker", "own", "--limit", "3000", "--rate", "50", "--data-dir", str(tmp_path)]
    with subprocess.Popen([*COMMAND, *options], env=environment, stdout=subprocess.DEVNULL) as process:
        deadline = monotonic() + DEADLINE_S
        while not (children := children_of(process.pid)) and monotonic() < deadline:
            sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 130
    assert children
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


def children_of(pid: int) -> list[int]:
    """Return the child processes of a process (none if the system does not list them)."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    names = [int(line) for line in found.stdout.split()]
    return names if len(names) >= 2 else []
