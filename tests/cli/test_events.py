"""Lines on their way to Kafka: numbered, objects only, and shifted in time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.cli._events import NotSent, latest_ms, objects, shifted
from segops.cli._lines import LineSource
from segops.core.errors import UserError
from segops.core.values import format_instant, parse_instant


async def _slices(*slices: Sequence[tuple[int, bytes]]) -> AsyncIterator[Sequence[tuple[int, bytes]]]:
    for lines in slices:
        yield lines


def sent(not_sent: NotSent, *slices: Sequence[tuple[int, bytes]]) -> list[bytes]:
    async def collect() -> list[bytes]:
        return [line async for lines in objects("x.jsonl", _slices(*slices), not_sent) for line in lines]

    return asyncio.run(collect())


@pytest.mark.parametrize(
    "line",
    [
        b"userId,event",
        b"[1]",
        b'"text"',
        b"7",
        b"null",
        b"{",
        b'{"a": 1} {"b": 2}',
        b"{'a': 1}",
        b"\xff",
        b"[" * 9_999,
    ],
)
def test_a_non_object_in_the_first_lines_rejects_the_file(line: bytes) -> None:
    with pytest.raises(UserError, match=r"^x.jsonl: line 2: expected a JSON object; nothing was sent$"):
        sent(NotSent(), [(1, b'{"userId": "u"}'), (2, line)], [(3, b"{}")])


def test_a_later_non_object_is_skipped_and_counted() -> None:
    not_sent = NotSent()
    bad = [(number, b"x") for number in range(2, 20)]
    assert sent(not_sent, [(1, b"{}")], [*bad, (20, b'{"a":1}')]) == [b"{}", b'{"a":1}']
    assert (not_sent.count, str(not_sent)) == (18, "lines 2, 3, 4, 5, 6, ...: expected a JSON object")


def read(path: Path) -> list[tuple[int, bytes]]:
    async def collect() -> list[tuple[int, bytes]]:
        with LineSource(path) as source:
            return [line async for lines in source.slices() for line in lines]

    return asyncio.run(collect())


@given(
    st.lists(st.sampled_from([b"{}", b"", b"  ", b"x" * 100_000, b"\xef\xbb\xbf{}"]), max_size=9),
    st.booleans(),
)
def test_line_numbers_match_those_of_an_editor(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], dos: bool
) -> None:
    path = tmp_path_factory.mktemp("lines") / "x.jsonl"
    path.write_bytes((b"\r\n" if dos else b"\n").join(lines))
    wanted = enumerate((line.removeprefix(b"\xef\xbb\xbf") for line in lines), 1)
    assert read(path) == [(number, line) for number, line in wanted if line.strip()]


def test_objects_with_lone_surrogates_or_huge_numbers_are_sent() -> None:
    lines = [
        rb'{"userId": "x\ud83d"}',
        b'{"sentAt": 1e999, "a": [1e999]}',
        rb'{"\udc5f": %s}' % (b"9" * 5_000),
    ]
    not_sent = NotSent()
    assert sent(not_sent, list(enumerate(lines))) == lines
    assert not_sent.count == 0
    assert shifted(lines[1], 1_000) == lines[1]
    half = rb'{"q": "\ud83d", "sentAt": 1e999, "timestamp": "2026-03-01T10:00:00Z"}'
    assert json.loads(shifted(half, 1_000)) == {
        "q": "\ufffd",
        "sentAt": float("inf"),
        "timestamp": "2026-03-01T10:00:01.000Z",
    }


def test_the_latest_time_considers_every_time_field() -> None:
    lines = [
        b"no object",
        b'{"timestamp": "soon", "sentAt": 7}',
        b'{"timestamp": "2026-01-02T00:00:00Z", "receivedAt": "2026-01-09T00:00:00Z"}',
        b'{"sentAt": "2026-01-03T00:00:00Z"}',
        b'{"originalTimestamp": "2026-01-01"}',
    ]
    found = asyncio.run(latest_ms("x", _slices(list(enumerate(lines)))))
    assert format_instant(found) == "2026-01-03T00:00:00.000Z"
    with pytest.raises(UserError, match=r"^x: no event has a readable time to shift$"):
        asyncio.run(latest_ms("x", _slices([(1, b"{}")])))


@given(st.integers(0, 2_000_000_000_000), st.integers(-1_000_000_000, 1_000_000_000_000))
def test_shifting_changes_all_times_equally_and_nothing_else(at_ms: int, by_ms: int) -> None:
    event = {
        "timestamp": format_instant(at_ms),
        "sentAt": "?",
        "receivedAt": format_instant(at_ms + 5),
        "a": {"timestamp": "x"},
    }
    moved = json.loads(shifted(json.dumps(event).encode(), by_ms))
    assert parse_instant(moved["timestamp"]) == at_ms + by_ms
    assert parse_instant(moved["receivedAt"]) == at_ms + 5 + by_ms
    assert {name: moved[name] for name in ("sentAt", "a")} == {name: event[name] for name in ("sentAt", "a")}
