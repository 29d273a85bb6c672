"""Sizes and trends as assistants get them, from records of their topics."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from segops.analytics.sizes import SegmentSizes
from segops.config import Settings
from segops.mcp import segments
from segops.schemas.sizes import SizeRecord, TrendRecord, encode_published, key_of

from .helpers import Assistant, assist

CLOCK_MS = 1_760_000_000_000
MINUTE_MS = 60_000


def sized(*found: tuple[str, int]) -> SegmentSizes:
    sizes = SegmentSizes(1)
    minute_ms = CLOCK_MS // MINUTE_MS * MINUTE_MS
    for key, members in found:
        counts = {"event": members}
        for record in (
            SizeRecord(key, 1, 0, 1, 0, "live", members, counts, {}, CLOCK_MS),
            TrendRecord(key, minute_ms, 0, 1, 0, members, counts, {}, CLOCK_MS),
        ):
            sizes.apply(key_of(record), encode_published(record))
    return sizes


@pytest.fixture
def _sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def reading(_settings: Settings) -> AsyncIterator[Any]:
        yield SimpleNamespace(folded=sized(("a", 3), ("b", 5)))

    monkeypatch.setattr(segments, "reading_sizes", reading)


@pytest.mark.usefixtures("_sizes")
def test_sizes_are_shown_by_page_or_by_key() -> None:
    async def steps(assistant: Assistant) -> None:
        found = await assistant.answer("segment_sizes")
        assert [(each["key"], each["members"]) for each in found["segments"]] == [("a", 3), ("b", 5)]
        assert found["as_of"] == {"least_ms": CLOCK_MS, "greatest_ms": CLOCK_MS}
        first = await assistant.answer("segment_sizes", limit=1)
        assert ([each["key"] for each in first["segments"]], first["next"]) == (["a"], "a")
        chosen = await assistant.answer("segment_sizes", keys=["b"])
        assert ([each["key"] for each in chosen["segments"]], chosen["next"]) == (["b"], None)

    assist(steps)


@pytest.mark.usefixtures("_sizes")
def test_a_trend_has_the_steps_that_were_asked_for() -> None:
    async def steps(assistant: Assistant) -> None:
        found = (await assistant.answer("segment_trend", key="b", step_minutes=1, steps=5))["trend"]
        assert len(found["steps"]) == 6  # the minute under way, too
        assert [each["members"] for each in found["steps"]][-1] == 5
        assert "step_minutes: " in await assistant.refusal("segment_trend", key="b", step_minutes=0)
        text = await assistant.refusal("segment_trend", key="b", step_minutes=10, steps=200)
        assert "minutes are kept for a day" in text

    assist(steps)


@pytest.mark.usefixtures("_sizes")
def test_unknown_segments_are_refused() -> None:
    async def steps(assistant: Assistant) -> None:
        expected = "unknown segment 'c'; list_segments lists all segments"
        assert await assistant.refusal("segment_sizes", keys=["a", "c"]) == expected
        assert await assistant.refusal("segment_trend", key="c") == expected

    assist(steps)
