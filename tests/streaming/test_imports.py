"""An imported file makes members in a running system, and counts once whatever ends the import."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from segops.core.values import format_instant
from tests.faults.proxy import FaultyNetwork
from tests.imports.runs import MAP
from tests.rest import rest

from .conftest import require_transactions
from .helpers import Stack, wait_until

pytestmark = pytest.mark.broker

SEGMENTS = """
version: 1
segments:
  - key: regulars
    when: {did: Order Completed, count: {gte: 3}}
"""
FIRST_MS = 1_700_000_000_000
DAY_MS = 86_400_000


@pytest.fixture
def stack(stack: Stack, broker: object) -> Stack:
    require_transactions(broker)
    stack.environment = {"SEGOPS_CLOCK": "wall"}
    stack.publish(SEGMENTS)
    return stack


def orders(folder: Path, customers: int) -> Path:
    """Write orders of customers of whom the nth has n % 5 orders, over months, and one odd row."""
    path, rows = folder / "orders.csv", ["id,customer,at,total"]
    for number in range(customers):
        for order in range(number % 5):
            at = format_instant(FIRST_MS + order * 30 * DAY_MS)
            rows.append(f"o{number}-{order},c{number},{at},9.50")
    path.write_text("\n".join([*rows, "odd,c1,never,1"]))
    (folder / "map.yaml").write_text(MAP)
    return path


def started(stack: Stack, path: Path, **variables: str) -> subprocess.Popen[str]:
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("SEGOPS_")},
        "SEGOPS_KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
        "SEGOPS_TOPIC_PREFIX": stack.name,
        "SEGOPS_PARTITIONS": str(stack.partitions),
        "SEGOPS_APP_ID": stack.settings.worker.app_id,
        **variables,
    }
    hooked = "FAULTS_REDIRECT" in variables
    main = ["-m", "tests.faults.hooks"] if hooked else ["-c", "from segops.cli import main; main()"]
    command = [sys.executable, *main, "import", str(path), "--map", str(path.parent / "map.yaml")]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(stack: Stack, path: Path, **variables: str) -> tuple[int, str, str]:
    process = started(stack, path, **variables)
    out, error = process.communicate(timeout=180)
    return process.returncode, out, error


def events(stack: Stack) -> list[Any]:
    return stack.read(stack.settings.topics.events)


def ids(stack: Stack) -> list[str]:
    return sorted(json.loads(record.value)["properties"]["order_id"] for record in events(stack))


def expected(customers: int) -> list[str]:
    return sorted(f"o{number}-{order}" for number in range(customers) for order in range(number % 5))


def members(stack: Stack) -> set[str]:
    return {each["profile_id"] for each in stack.changes().values() if each["action"] == "entered"}


def test_imported_orders_make_members_and_count_once(stack: Stack, tmp_path: Path) -> None:
    path, customers = orders(tmp_path, 50), 50
    status, out, error = run(stack, path)
    assert status == 0, error
    assert out.startswith("101 rows: 100 events, 1 rows rejected; from 2023-11-14T22:13:20.000Z to ")
    assert f"{path}:102: bad_time: " in error
    again = run(stack, path)
    assert again[:2] == (0, again[1]) and again[1].startswith("imported already, at ")
    assert ids(stack) == expected(customers)
    record = events(stack)[0]
    assert dict(record.headers)["segops-from"].startswith(b"import:orders.csv:")
    assert record.timestamp > FIRST_MS + 365 * DAY_MS  # that of its arrival, by which retention counts
    stack.start()
    wanted = {f"user_id:c{number}" for number in range(customers) if number % 5 >= 3}
    wait_until(lambda: members(stack) >= wanted, "the regulars", stack.diagnosis)
    assert members(stack) == wanted


@rest
@pytest.mark.parametrize("point", ["pull_in_transaction:1", "pull_in_transaction:3", "pull_after_commit:2"])
def test_killed_import_goes_on_where_it_was(stack: Stack, tmp_path: Path, point: str) -> None:
    path, customers = orders(tmp_path, 6_000), 6_000  # 12,001 rows: three transactions
    assert run(stack, path, SEGOPS_CRASH_AT=point)[0] == 137
    status, out, error = run(stack, path)
    assert status == 0, error
    assert out.startswith("12,001 rows: 12,000 events, 1 rows rejected")
    assert ids(stack) == expected(customers)


@rest
def test_import_that_is_killed_at_any_time_goes_on_where_it_was(stack: Stack, tmp_path: Path) -> None:
    path, customers = orders(tmp_path, 20_000), 20_000
    for part in (1, 15_000, 25_000):
        process = started(stack, path)
        wait_until(lambda part=part: len(events(stack)) >= part, f"{part} events", stack.diagnosis)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert run(stack, path)[0] == 0
    assert ids(stack) == expected(customers)


@rest
def test_import_waits_for_a_broker_and_survives_cut_connections(
    stack: Stack, tmp_path: Path, network: FaultyNetwork
) -> None:
    path, customers = orders(tmp_path, 20_000), 20_000
    variables = {"FAULTS_REDIRECT": network.redirection, "SEGOPS_KAFKA_REQUEST_TIMEOUT": "2s"}
    network.down = True
    process = started(stack, path, **variables)
    assert process.stderr is not None
    assert any("waiting for Kafka" in line for line in iter(process.stderr.readline, ""))
    network.down = False
    wait_until(lambda: len(events(stack)) > 0, "some events", stack.diagnosis)
    network.down = True
    network.down = False
    out, error = process.communicate(timeout=180)
    assert (process.returncode, out[:11]) == (0, "40,001 rows"), error
    assert ids(stack) == expected(customers)
