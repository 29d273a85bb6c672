"""``segops topics``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from segops import config

pytestmark = pytest.mark.broker

Run = Callable[..., Any]


def test_create_verify_describe(segops: Run, settings: config.Settings, topic_prefix: str) -> None:
    assert segops("topics", "verify").status == 2
    created = segops("topics", "create")
    assert created.status == 0
    assert f"created {topic_prefix}events" in created.out.splitlines()
    assert len(created.out.splitlines()) == 30
    assert segops("topics", "create").out == "all topics exist with the expected settings\n"
    assert segops("topics", "verify").status == 0
    described = segops("topics", "describe")
    assert described.err == ""
    rows = {line.split()[0]: line.split()[1:5] for line in described.out.splitlines()}
    assert rows[f"{topic_prefix}events"] == ["3", "1", "after", "1w"]
    assert rows[f"{topic_prefix}app-profiles-changelog"] == ["3", "1", "compact", "0"]


def test_describe_reports_topics_that_differ(
    segops: Run, settings: config.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    segops("topics", "create")
    monkeypatch.setenv("SEGOPS_PARTITIONS", "5")
    described = segops("topics", "describe")
    assert described.status == 0
    assert f"! {settings.topics.events} has 3 partition(s), expected 5" in described.err
    refused = segops("topics", "create")
    assert (refused.status, refused.out) == (2, "")
    assert f"{settings.topics.events} has 3 partition(s), expected 5" in refused.err


def test_an_unreachable_broker_is_a_user_error_with_its_address(
    segops: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGOPS_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    for command in (["topics", "create", "--wait", "0"], ["watch", "--once"], ["topics", "verify"]):
        refused = segops(*command)
        assert (refused.status, refused.out) == (2, "")
        assert refused.err == (
            "cannot reach a Kafka broker (SEGOPS_KAFKA_BOOTSTRAP_SERVERS): "
            "127.0.0.1:1: connection refused, nothing listens there\n"
        )


def test_invalid_settings_are_a_user_error(segops: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGOPS_PARTITIONS", "none")
    refused = segops("topics", "create")
    assert (refused.status, refused.out) == (2, "")
    assert refused.err.startswith("SEGOPS_PARTITIONS: ")


@pytest.mark.parametrize("command", [["topics"], ["topics", "create"], ["apply"], ["produce"], ["watch"]])
def test_help_ends_with_an_example(segops: Run, command: list[str]) -> None:
    shown = segops(*command, "--help")
    assert shown.status == 0
    assert "segops " + command[0] in shown.out.split("Example")[1]
