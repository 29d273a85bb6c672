"""``segops collect`` as a process without Kafka, and its mistakes."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command import run
from tests.streaming.helpers import wait_until

from .helpers import EVENT, KEY
from .processes import CollectorProcess, unreachable_stack

Reserve = Callable[[int], list[int]]


def test_collector_serves_while_kafka_is_away_and_ends_on_a_signal(tmp_path: Path, reserve: Reserve) -> None:
    with unreachable_stack(tmp_path) as stack:
        collector = CollectorProcess(stack, reserve(2))
        wait_until(lambda: collector.page("/healthz")[0] == 200, "it serves", collector.log.read_text)
        wait_until(lambda: collector.post(EVENT, "/v1/track") == 503, "it refuses", collector.log.read_text)
        status, text = collector.page("/readyz")
        assert (status, text.startswith("not ready: waiting for Kafka")) == (503, True)
        text = collector.page("/metrics")[1]
        assert 'segops_collector_requests_total{code="503",source="website"}' in text
        assert "segops_broker_connected 0.0" in text
        collector.process.send_signal(signal.SIGTERM)
        assert collector.process.wait(20) == 0
        log = collector.log.read_text()
        assert "collector of away.events on http://127.0.0.1" in log
        assert KEY not in log and "Traceback" not in log


def test_check_lists_the_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGOPS_COLLECT_KEYS", f"website={KEY},app=wk-app-0001")
    assert run("collect", "--check").out == "app\nwebsite\n"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "no write keys"),
        ({"SEGOPS_COLLECT_KEYS": "website"}, "SEGOPS_COLLECT_KEYS: pair 1: expected source=key"),
        ({"SEGOPS_COLLECT_URL": "shop.example"}, "SEGOPS_COLLECT_URL: expected http"),
        ({"SEGOPS_COLLECT_IP": "hide"}, "SEGOPS_COLLECT_IP: "),
        ({"SEGOPS_COLLECT_RATE": "0"}, "SEGOPS_COLLECT_RATE: "),
    ],
)
def test_mistakes_end_the_command_with_status_2(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], message: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    result = run("collect", "--check")
    assert result.status == 2
    assert message in result.err
