"""The framing of a registry's serializers, against a second implementation of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.core.errors import RejectedEvent
from segops.sources.framing import message_indexes, unframe

from .small_registry import frame


def encoded(indexes: tuple[int, ...]) -> bytes:
    """Return message indexes as a serializer writes them: a count and the indexes, as zigzag varints."""
    if indexes == (0,):
        return b"\x00"
    found = bytearray()
    for number in (len(indexes), *indexes):
        rest = number * 2
        while rest >= 128:
            found.append(rest % 128 + 128)
            rest //= 128
        found.append(rest)
    return bytes(found)


@given(schema_id=st.integers(0, 2**32 - 1), payload=st.binary(max_size=50))
def test_frame_is_read_back(schema_id: int, payload: bytes) -> None:
    assert unframe(frame(schema_id, payload)) == (schema_id, payload)


@given(
    indexes=st.lists(st.integers(0, 10_000), min_size=1, max_size=8).map(tuple), rest=st.binary(max_size=20)
)
def test_message_indexes_are_read_back(indexes: tuple[int, ...], rest: bytes) -> None:
    assert message_indexes(encoded(indexes) + rest) == (indexes, rest)


@given(data=st.binary(max_size=30))
def test_any_bytes_are_read_or_rejected(data: bytes) -> None:
    try:
        schema_id, payload = unframe(data)
    except RejectedEvent as error:
        assert error.reason == "undecodable"
        assert data[:1] != b"\x00" or len(data) < 5
    else:
        assert frame(schema_id, payload) == data
    try:
        indexes, rest = message_indexes(data)
    except RejectedEvent as error:
        assert error.reason == "undecodable"
    else:
        assert min(indexes) >= 0 and data.endswith(rest)


@pytest.mark.parametrize("payload", [b"", b"\x80", b"\x02", b"\x01rest", b"\x7e\x00", b"\x02\x01"])
def test_invalid_indexes_are_rejected(payload: bytes) -> None:
    with pytest.raises(RejectedEvent):
        message_indexes(payload)
