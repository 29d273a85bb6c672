"""Fetches that come back at once without records are paced; no other request waits."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.protocol.fetch import FetchRequest, FetchResponse_v1, FetchResponse_v7
from aiokafka.protocol.metadata import MetadataRequest

from segops.kafka import pacing
from segops.kafka.pacing import PAUSE_S, paced

FETCH = FetchRequest(100, 1, 1_000, 0, [("t", [(0, 0, 1_000)])])
EMPTY = FetchResponse_v7(0, 0, 0, [("t", [(0, 0, 5, 5, 0, [], b""), (1, 0, 0, 0, 0, None, None)])])
NO_TOPICS = FetchResponse_v7(0, 0, 0, [])
OLD_EMPTY = FetchResponse_v1(0, [("t", [(0, 0, 5, b"")])])
RECORDS = FetchResponse_v7(0, 0, 0, [("t", [(0, 0, 5, 5, 0, [], b""), (1, 0, 7, 7, 0, [], b"records")])])
OUT_OF_RANGE = FetchResponse_v7(0, 0, 0, [("t", [(0, 1, -1, -1, -1, None, None)])])


def pause_after(request: Any, response: Any, took_s: float, monkeypatch: pytest.MonkeyPatch) -> float:
    """Return the seconds that a request waits after its response, which came after ``took_s``."""
    slept: list[float] = []
    now_s = 0.0

    async def send(node_id: int, sent: Any, *, group: str) -> Any:
        nonlocal now_s
        assert (node_id, sent, group) == (1, request, "fetch")
        now_s += took_s
        return response

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(pacing, "_now_s", lambda: now_s)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    consumer: Any = SimpleNamespace(_client=SimpleNamespace(send=send))
    assert asyncio.run(paced(consumer)._client.send(1, request, group="fetch")) is response
    return sum(slept)


@pytest.mark.parametrize("response", [EMPTY, NO_TOPICS, OLD_EMPTY])
def test_an_empty_fetch_that_comes_back_early_waits_for_the_rest(
    response: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pause_after(FETCH, response, PAUSE_S / 4, monkeypatch) == pytest.approx(PAUSE_S * 3 / 4)


@pytest.mark.parametrize(
    ("request_", "response", "took_s"),
    [
        (FETCH, RECORDS, 0.0),
        (FETCH, OUT_OF_RANGE, 0.0),
        (FETCH, EMPTY, PAUSE_S),
        (FETCH, EMPTY, 0.5),
        (MetadataRequest([]), EMPTY, 0.0),
    ],
    ids=["records", "error", "after the pause", "after a long poll", "another request"],
)
def test_nothing_else_waits(
    request_: Any, response: Any, took_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pause_after(request_, response, took_s, monkeypatch) == 0.0
