"""Batches taken from the client's fetch buffers are never lost, even if another fetch failed."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import FetchError, FetchResult
from aiokafka.errors import OffsetOutOfRangeError

from segops.kafka import batches as raw

GOOD, BAD = TopicPartition("events", 0), TopicPartition("events", 1)


def consumer(*arrived: tuple[TopicPartition, Any]) -> Any:
    """Return a client whose fetcher has buffered these results."""
    fetcher = SimpleNamespace(
        error_future=SimpleNamespace(done=lambda: False),
        _records=dict(arrived),
        _notify=lambda future: None,
        _wait_consume_future=None,
    )
    return SimpleNamespace(_fetcher=fetcher)


@pytest.fixture(autouse=True)
def unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Return fetch results unchanged, without decoding their bytes."""

    def taken(result: Any, topic_partition: TopicPartition) -> Iterator[tuple[TopicPartition, Any]]:
        yield topic_partition, result

    monkeypatch.setattr(raw, "_take", taken)


def good() -> Any:
    return FetchResult.__new__(FetchResult)


def bad() -> Any:
    return FetchError(error=OffsetOutOfRangeError({BAD: 7}), backoff=0)


def test_failure_is_raised_after_earlier_batches_are_delivered() -> None:
    client = consumer((GOOD, result := good()), (BAD, bad()))
    assert raw.drain(client, {GOOD, BAD}) == [(GOOD, result)]
    with pytest.raises(OffsetOutOfRangeError):
        raw.drain(client, {GOOD, BAD})
    assert raw.drain(client, {GOOD, BAD}) == []  # the batch is fetched again


def test_batches_after_a_failure_are_kept() -> None:
    client = consumer((BAD, bad()), (GOOD, result := good()))
    with pytest.raises(OffsetOutOfRangeError):
        raw.drain(client, {GOOD, BAD})
    assert raw.drain(client, {GOOD, BAD}) == [(GOOD, result)]


def test_batches_of_other_partitions_stay_in_the_client() -> None:
    client = consumer((GOOD, good()), (BAD, result := good()))
    assert raw.drain(client, {BAD}) == [(BAD, result)]
    assert list(client._fetcher._records) == [GOOD]
