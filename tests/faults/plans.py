"""Faults while the effect of an edit is computed, and while the edit is published."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from segops.schemas.segments import load as load_segments

from ..streaming.helpers import wait_until
from .cluster import Case
from .facts import Facts, Finding
from .load import segment_text

#: The number of changes by segment and direction.
_Moves = Counter[tuple[str, bool]]
_ATTEMPTS = 5


def _kill(case: Case) -> None:
    """Kill a worker and restart it."""
    case.kill(1)
    case.start(1)


def _freeze(case: Case) -> None:
    """Suspend a worker until its partitions have moved to another."""
    case.signal(1, signal.SIGSTOP)
    wait_until(lambda: case.share_partitions(0), "worker 0 owns all partitions", case.diagnosis)
    case.signal(1, signal.SIGCONT)


def _another_worker(case: Case) -> None:
    """Start another worker, so that partitions move to it."""
    case.start(2)


_DISTURBANCES = (_kill, _freeze, _another_worker)


def disturbed(case: Case) -> None:
    """Disturb the workers while a plan is computed and while it is applied."""
    case.cluster.environment["SEGOPS_IDLE_SOURCE"] = "0"  # time must not pass between the two
    case.start(0, 1)
    case.wait_ready(0, 1)
    case.load.start()
    case.load.wait_done()
    case.wait_caught_up()
    wait_until(lambda: not case.has_records_in_flight(), "no record in flight", case.diagnosis)
    file = case.cluster.folder / "edited.yaml"
    file.write_text(segment_text(case.plan.clock))
    first, second = (_DISTURBANCES[(case.plan.seed + shift) % len(_DISTURBANCES)] for shift in (0, 1))
    fault = time.monotonic()
    plan = _planned(case, file, first)
    applied = _run(case, ["apply", "--plan", plan["id"], "--yes"], second)
    assert applied.returncode == 0, applied.stderr
    case.cluster.definitions = load_segments([file])
    case.adopts()
    case.wait_in_force()
    case.record_recovery(fault)
    case.circumstances.more_checks["plan"] = partial(_published_as_planned, plan)


def _planned(case: Case, file: Path, disturb: Callable[[Case], None]) -> dict[str, Any]:
    """Return the plan of an edit, computed while workers are disturbed; a failure says its reason."""
    for _ in range(_ATTEMPTS):
        done = _run(case, ["plan", str(file), "--prune", "--format", "json"], disturb)
        if done.returncode == 0:
            plan: dict[str, Any] = json.loads(done.stdout)
            case.notes.append(f"{_moves(plan).total()} changes planned")
            return plan
        assert done.stderr and "Traceback" not in done.stderr, done.stderr
        case.notes.append(done.stderr.splitlines()[-1])
        disturb = _nothing
    raise AssertionError(f"no plan\n{done.stderr}\n{case.diagnosis()}")


def _nothing(case: Case) -> None:
    """Disturb no worker."""


def _run(
    case: Case, arguments: list[str], disturb: Callable[[Case], None]
) -> subprocess.CompletedProcess[str]:
    """Run a command, disturb the workers at a random moment meanwhile, and return its result."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SEGOPS_")},
        "SEGOPS_KAFKA_BOOTSTRAP_SERVERS": case.cluster.bootstrap_servers,
        "SEGOPS_TOPIC_PREFIX": case.cluster.name,
        "SEGOPS_PARTITIONS": str(case.cluster.partitions),
        "SEGOPS_APP_ID": case.settings.worker.app_id,
    }
    command = [sys.executable, "-m", "segops", *arguments]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    case.cleanups.append(process.kill)
    time.sleep(case.rng.random() * 2)
    case.notes.append(disturb.__name__.strip("_"))
    disturb(case)
    output, errors = process.communicate(timeout=120)
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def _moves(plan: dict[str, Any]) -> _Moves:
    found = Counter[Any]()
    for each in plan["segments"]:
        found[each["segment_key"], True] = each["entering"]
        found[each["segment_key"], False] = each["leaving"]
    return +found


def _published_as_planned(plan: dict[str, Any], facts: Facts) -> Iterator[Finding]:
    """Check I15: publication changed as many memberships of each segment as the plan says."""
    changes = (change for changes in facts.changes.values() for change in changes)
    found = Counter(
        (each.segment_key, each.member) for each in changes if each.reason in ("definition", "backfill")
    )
    if found != _moves(plan):
        yield Finding("I15", "wrong", f"the edit moved {found}, planned were {_moves(plan)}")
