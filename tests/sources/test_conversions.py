"""The conversions of mapped values, by table."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.core.values import format_instant
from segops.sources.conversions import CONVERSIONS, plain


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("string", 7, "7"),
        ("string", 7.0, "7"),
        ("string", 0.5, "0.5"),
        ("string", True, "true"),
        ("string", Decimal("1.50"), "1.50"),
        ("number", "19.90", Decimal("19.90")),
        ("number", " 7 ", 7),
        ("number", "1e3", 1000),
        ("number", 0.1, Decimal("0.1")),
        ("number", 7, 7),
        ("boolean", "Yes", True),
        ("boolean", 0, False),
        ("boolean", False, False),
        ("unix_seconds", 1_760_000_000, "2025-10-09T08:53:20.000Z"),
        ("unix_seconds", "1760000000.5", "2025-10-09T08:53:20.500Z"),
        ("unix_millis", 1_760_000_000_001, "2025-10-09T08:53:20.001Z"),
        ("unix_micros", 1_760_000_000_001_999, "2025-10-09T08:53:20.001Z"),
        ("unix_micros", -1, "1969-12-31T23:59:59.999Z"),
        ("unix_days", 20_370, "2025-10-09"),
        ("iso_time", "2026-03-01 11:00:00+01:00", "2026-03-01T10:00:00.000Z"),
        ("iso_time", "2026-03-01", "2026-03-01T00:00:00.000Z"),
        ("cents", 1999, Decimal("19.99")),
        ("cents", "5", Decimal("0.05")),
        ("cents", Decimal("-10"), Decimal("-0.10")),
        ("json", '{"a": [1]}', {"a": [1]}),
    ],
)
def test_value_is_converted(name: str, value: Any, expected: Any) -> None:
    found = CONVERSIONS[name](value)
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("string", [1]),
        ("number", "a dozen"),
        ("number", ""),
        ("number", "NaN"),
        ("number", "1e999999999"),
        ("number", "9" * 100),
        ("number", True),
        ("boolean", "maybe"),
        ("boolean", 2),
        ("unix_seconds", "2026-03-01"),
        ("unix_seconds", 1_760_000_000_000_000),
        ("unix_millis", True),
        ("unix_days", 10**9),
        ("unix_days", "today"),
        ("iso_time", 1_760_000_000),
        ("iso_time", "01/03/2026"),
        ("cents", "12 EUR"),
        ("json", "{"),
        ("json", 7),
    ],
)
def test_other_values_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError):
        CONVERSIONS[name](value)


@given(ms=st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_an_instant_is_the_same_in_each_unit(ms: int) -> None:
    expected = format_instant(ms)
    assert CONVERSIONS["unix_millis"](ms) == expected
    assert CONVERSIONS["unix_micros"](ms * 1000 + 999) == expected
    assert CONVERSIONS["unix_seconds"](Decimal(ms) / 1000) == expected
    assert CONVERSIONS["iso_time"](expected) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2026, 3, 1, 10, 0, 0, 1999, UTC), "2026-03-01T10:00:00.001Z"),
        (datetime(2026, 3, 1, 11, tzinfo=timezone(timedelta(hours=1))), "2026-03-01T10:00:00.000Z"),
        (datetime(2026, 3, 1, 10), "2026-03-01T10:00:00.000Z"),  # noqa: DTZ001 - Avro's local timestamps
        (date(2026, 3, 1), "2026-03-01"),
        (time(10, 30), "10:30:00"),
        (timedelta(seconds=90), 90.0),
        (b"EUR", "EUR"),
        (b"\xff\x00", "ff00"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ([{1: (b"x",)}], [{"1": ["x"]}]),
        (Decimal("0.10"), Decimal("0.10")),
    ],
)
def test_decoded_values_become_plain(value: Any, expected: Any) -> None:
    assert plain(value) == expected
