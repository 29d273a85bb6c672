"""Rows of past events survive encoding; damaged bytes are an error."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from segops.core.backfill import Row
from segops.core.errors import StateError
from segops.schemas.rows import decode_row, encode_row


@pytest.mark.parametrize(
    ("value", "decoded"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (-2.5, -2.5),
        ("é", "é"),
        (Decimal("0.10"), "0.10"),
        ((1, ("x", None)), [1, ["x", None]]),
        ({"a": [1]}, {"a": [1]}),
        (10**30, 1e30),
        ([10**30, "é"], [1e30, "é"]),
    ],
)
def test_row_survives_encoding(value: Any, decoded: Any) -> None:
    row = Row(-5, 1_760_000_000_000, (1 << 64) - 1, 3, 1 << 40, {(1 << 63) - 1: value})
    found = decode_row(encode_row(row))
    assert found.values == {(1 << 63) - 1: decoded}
    assert (found.time_ms, found.arrival_ms, found.message) == (-5, 1_760_000_000_000, (1 << 64) - 1)
    assert (found.partition, found.offset) == (3, 1 << 40)


@pytest.mark.parametrize("data", [b"", b"\x93", b"\xff" * 9, encode_row(Row(1, 1, 1, 1, 1, {}))[:-1]])
def test_damaged_row_is_an_error(data: bytes) -> None:
    with pytest.raises(StateError, match="row of past events is damaged"):
        decode_row(data)
