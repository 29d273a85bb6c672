"""Debezium's envelope, as its connectors write it."""

from __future__ import annotations

from typing import Any

import pytest

from segops.core.errors import RejectedEvent
from segops.sources.debezium import unwrap

ROW, FORMER = {"id": 1, "plan": "gold"}, {"id": 1, "plan": "free"}
SOURCE = {"connector": "postgresql", "ts_ms": 5, "table": "users", "snapshot": "false"}


def envelope(op: str, **fields: Any) -> dict[str, Any]:
    return {"op": op, "before": None, "after": None, "source": SOURCE, "ts_ms": 9, **fields}


@pytest.mark.parametrize(
    ("value", "operation", "row"),
    [
        (envelope("c", after=ROW), "create", ROW),
        (envelope("r", after=ROW), "read", ROW),
        (envelope("u", before=FORMER, after=ROW), "update", ROW),
        (envelope("d", before=FORMER), "delete", FORMER),
    ],
)
def test_change_has_its_row_and_time(value: dict[str, Any], operation: str, row: dict[str, Any]) -> None:
    for written in (value, {"schema": {"type": "struct"}, "payload": value}):
        change = unwrap(written)
        assert change is not None
        assert (change.operation, change.row, change.time_ms) == (operation, row, 5)
        assert change.meta["$op"] == operation
        assert change.meta["$before"] == value["before"]
        assert change.meta["$source"] == SOURCE


def test_time_of_the_connector_replaces_a_missing_one() -> None:
    assert unwrap(envelope("c", after=ROW, source=None))[3] == 9  # type: ignore[index]
    assert unwrap({"op": "c", "after": ROW})[3] is None  # type: ignore[index]


@pytest.mark.parametrize(
    "value", [envelope("t"), envelope("m", message={"content": ""}), {"schema": {}, "payload": None}]
)
def test_what_changes_no_row_is_nothing(value: dict[str, Any]) -> None:
    assert unwrap(value) is None


@pytest.mark.parametrize(
    "value", [ROW, [], None, envelope("x", after=ROW), envelope("c"), envelope("d"), envelope("u", after=7)]
)
def test_other_values_are_rejected(value: Any) -> None:
    with pytest.raises(RejectedEvent) as caught:
        unwrap(value)
    assert caught.value.reason == "undecodable"
