"""Lifecycle: days summed over partitions from encoded records, and the page."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.analytics.population_days import PopulationDay, PopulationDays
from segops.console.pages import lifecycle as lifecycle_page
from segops.console.people.lines import HEIGHT, Line, chart_data
from segops.schemas.sizes import PopulationFigures, PopulationRecord, TrendRecord, encode_published, key_of
from tests.console.helpers import Browser

from .people import DAY, NOON, VIEWER, FakeBoard, with_people

TODAY = NOON // DAY * DAY


def record(
    day: int, daily: int, *, partition: int = 0, partitions: int = 1, generation: int = 0, minute: int = 1
) -> PopulationRecord:
    figures = PopulationFigures(TODAY + day * DAY, 100, daily, 30, 60, daily, 0, 0, 40)
    at_ms = TODAY + day * DAY + minute * 60_000
    return PopulationRecord(partition, partitions, generation, at_ms, figures, at_ms)


def days_of(*records: PopulationRecord | TrendRecord, partitions: int = 1) -> list[PopulationDay]:
    folded = PopulationDays(partitions)
    for each in records:
        folded.apply(key_of(each), encode_published(each))
    folded.apply(b"nonsense", b"{}")
    folded.apply(b"$population|x|0|0", b"{}")
    folded.apply(None, None)
    return folded.days()


def test_the_last_record_of_a_day_counts() -> None:
    found = days_of(record(0, 8, minute=3), record(0, 5), record(1, 2))
    assert [(each.day_ms - TODAY, each.daily, each.new) for each in found] == [(0, 8, 8), (DAY, 2, 2)]


def test_a_partition_without_a_record_was_idle_and_keeps_who_it_knows() -> None:
    found = days_of(
        record(0, 5, partitions=2),
        record(0, 7, partition=1, partitions=2),
        record(2, 1, partitions=2),
        partitions=2,
    )
    told = [(each.daily, each.known, each.monthly, each.complete) for each in found]
    assert told == [(12, 200, 120, True), (0, 200, 120, True), (1, 200, 120, True)]
    assert not days_of(record(0, 5, partitions=2), partitions=2)[0].complete


def test_records_of_segments_other_partitions_and_generations_do_not_count() -> None:
    trend = TrendRecord("vip", TODAY, 0, 1, 0, 4, {}, {}, TODAY)
    assert days_of(trend) == []
    assert days_of(record(0, 5, partitions=2)) == []
    found = days_of(record(0, 5), record(0, 3, generation=1), record(1, 9))
    assert [each.daily for each in found] == [3]


@given(st.lists(st.lists(st.integers(0, 10_000), min_size=1, max_size=40), min_size=1, max_size=3))
def test_lines_stay_within_the_plot_and_its_ticks(values: list[list[int]]) -> None:
    shortest = min(map(len, values))
    lines = [Line(str(number), "", each[:shortest]) for number, each in enumerate(values)]
    found = chart_data(lines, [TODAY + number * DAY for number in range(shortest)])
    greatest = max(max(line.values) for line in lines)
    ticks = [each["value"] for each in found["ticks"]]
    assert ticks[0] == 0
    assert ticks[-1] >= greatest
    assert len(ticks) <= 6
    for line, drawn in zip(lines, found["lines"], strict=True):
        heights = [float(point.split(",")[1]) for point in drawn["points"].split()]
        assert all(0 <= each <= HEIGHT for each in heights)
        assert drawn["latest"] == line.values[-1]


def test_the_page_shows_now_and_day_by_day(monkeypatch: pytest.MonkeyPatch) -> None:
    async def read(_settings: object) -> Sequence[PopulationDay]:
        return days_of(*(record(day, 10 + day) for day in range(-20, 1)))

    monkeypatch.setattr(lifecycle_page, "population_days", read)

    async def steps(browser: Browser) -> None:
        found = (await browser.get("/lifecycle.json?range=7d", **VIEWER)).json
        counts = {each["key"]: each["count"] for each in (*found["now"]["states"], *found["now"]["active"])}
        assert counts == {
            "new": 5,
            "returning": 12,
            "resurrected": 3,
            "dormant": 40,
            "daily": 20,
            "weekly": 40,
            "monthly": 80,
        }
        assert found["now"]["stickiness"] == 0.25
        assert [each["daily"] for each in found["days"]] == [10, 9, 8, 7, 6, 5, 4]
        assert found["days"][0]["date"] == "2026-03-01"
        page = await browser.get("/lifecycle", **VIEWER)
        assert (page.status, "Resurrected" in page.text, "<polyline" in page.text) == (200, True, True)

    with_people(steps, monkeypatch)


def test_without_kafka_and_without_figures_the_page_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(_settings: object) -> Sequence[PopulationDay]:
        raise OSError("no broker is reachable")

    monkeypatch.setattr(lifecycle_page, "population_days", away)

    class Nothing(FakeBoard):
        sizes = None  # type: ignore[assignment]

    async def steps(browser: Browser) -> None:
        page = await browser.get("/lifecycle", **VIEWER)
        assert (page.status, "no broker is reachable" in page.text) == (200, True)

    with_people(steps, monkeypatch, board=Nothing(sizes=None))  # type: ignore[arg-type]
