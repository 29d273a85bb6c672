"""Alerts of many segments leave the process time for other work."""

from __future__ import annotations

from segops.analytics.alert_board import AlertBoard
from segops.analytics.alert_log import AlertLog
from segops.core.rules.alerts import Alert
from segops.schemas.sizes import EndedRecord
from tests.analytics.recount import HOUR, MINUTE, START, published, size, trend

MANY = Alert("entries", HOUR, at_most=5)


def test_many_segments_are_evaluated_in_steps() -> None:
    keys = [f"s{number}" for number in range(1_000)]
    board = AlertBoard({key: [MANY] for key in keys}, AlertLog(), 1)
    for key in keys:
        board.apply(*published(size(key, 0, 100, partitions=1, entered={"event": 100})))
        board.apply(*published(trend(key, 0, START, (9, 0), 109, partitions=1)))
    board.apply(*published(EndedRecord(0, 1, 0, START + MINUTE, START + MINUTE)))
    steps = [len(step) for step in board.evaluate()]
    assert max(steps) <= 200
    assert sum(steps) == 1_001  # each fires, and the last record says until when
    assert [*board.evaluate()] == []
