"""What is taken out of a client's buffers: nothing of it gets lost, whatever else went wrong."""

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
    """A client whose fetcher holds these."""
    fetcher = SimpleNamespace(
        error_future=SimpleNamespace(done=lambda: False),
        _records=dict(arrived),
        _notify=lambda future: None,
        _wait_consume_future=None,
    )
    return SimpleNamespace(_fetcher=fetcher)


@pytest.fixture(autouse=True)
def unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each result is taken as it is, without its bytes."""

    def taken(result: Any, place: TopicPartition) -> Iterator[tuple[TopicPartition, Any]]:
        yield place, result

    monkeypatch.setattr(raw, "_take", taken)


def good() -> Any:
    return FetchResult.__new__(FetchResult)


def bad() -> Any:
    return FetchError(error=OffsetOutOfRangeError({BAD: 7}), backoff=0)


def test_a_failure_waits_until_what_arrived_before_it_is_handed_over() -> None:
    client = consumer((GOOD, result := good()), (BAD, bad()))
    assert raw.drain(client, {GOOD, BAD}) == [(GOOD, result)]
    with pytest.raises(OffsetOutOfRangeError):
        raw.drain(client, {GOOD, BAD})
    assert raw.drain(client, {GOOD, BAD}) == []  # it is fetched again


def test_what_arrived_behind_a_failure_is_there_afterwards() -> None:
    client = consumer((BAD, bad()), (GOOD, result := good()))
    with pytest.raises(OffsetOutOfRangeError):
        raw.drain(client, {GOOD, BAD})
    assert raw.drain(client, {GOOD, BAD}) == [(GOOD, result)]


def test_what_is_not_wanted_stays_in_the_client() -> None:
    client = consumer((GOOD, good()), (BAD, result := good()))
    assert raw.drain(client, {BAD}) == [(BAD, result)]
    assert list(client._fetcher._records) == [GOOD]
