"""The access audit in Kafka: entries are written and found; without Kafka nothing is audited."""

from __future__ import annotations

import asyncio
import time

import msgspec
import pytest

from segops import config
from segops.brokers import LocalBroker
from segops.console.audit import KafkaAudit
from segops.console.page import NotAudited
from segops.kafka.topics import create
from segops.operations.access_audit import AccessQuery, read_entries
from tests.command import run as run_command

from .test_audit import entry


@pytest.mark.broker
def test_entries_are_on_the_topic_when_they_are_written(
    broker: LocalBroker, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGOPS_KAFKA_BOOTSTRAP_SERVERS", broker.bootstrap_servers)
    monkeypatch.setenv("SEGOPS_TOPIC_PREFIX", topic_prefix)
    settings = config.load()
    # The topic's retention deletes older entries, at any moment.
    start_ms = time.time_ns() // 1_000_000 - 10_000

    async def main() -> None:
        await create(settings)
        log = KafkaAudit(settings)
        try:
            await log.write(entry(start_ms, "begun"))
            await log.write(entry(start_ms + 1_000, "read", user="bob"))
            await log.write(entry(start_ms, "done"))
            found = await read_entries(settings, AccessQuery())
            assert [(each.at_ms, each.result) for _, each in found.entries] == [
                (start_ms + 1_000, "read"),
                (start_ms, "done"),
            ]
            later = await read_entries(settings, AccessQuery(since_ms=start_ms + 500))
            assert [each.user for _, each in later.entries] == ["bob"]
            assert (await read_entries(settings, AccessQuery(since_ms=start_ms + 2_000))).entries == []
        finally:
            await log.close()

    asyncio.run(main())
    listed = run_command("console", "audit", "--user", "bob", "--format", "json")
    assert listed.status == 0 and msgspec.json.decode(listed.out)["id"] == f"id{start_ms + 1_000}"
    table = run_command("console", "audit")
    assert table.status == 0 and f"/segments/s{start_ms}" in table.out


def test_without_kafka_nothing_is_audited_and_a_later_entry_is_tried_again() -> None:
    async def main() -> None:
        log = KafkaAudit(config.load(kafka={"bootstrap_servers": "127.0.0.1:1"}))
        for _ in range(2):
            with pytest.raises(NotAudited, match="the audit cannot be written"):
                await log.write(entry(1))
        await log.close()

    asyncio.run(main())
