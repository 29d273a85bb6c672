"""The curve of a segment in block characters."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from segops.cli._chart import chart


def test_a_constant_curve_is_a_line_at_the_bottom() -> None:
    assert chart([7, 7, 7], height=3) == ["  ┤", "  ┤", "7 ┤▁▁▁"]


def test_nothing_known_draws_nothing() -> None:
    assert chart([]) == []
    assert chart([None, None]) == []


@given(st.lists(st.one_of(st.none(), st.integers(0, 10**9)), min_size=1), st.integers(2, 9))
def test_greater_values_have_higher_columns(values: list[int | None], height: int) -> None:
    lines = chart(values, height)
    known = [value for value in values if value is not None]
    assert len(lines) == (height if known else 0)
    start = lines[0].index("┤") + 1 if lines else 0
    columns = [
        sum(" ▁▂▃▄▅▆▇█".index(line[start:].ljust(len(values))[n]) for line in lines)
        for n in range(len(values))
    ]
    drawn = sorted(
        (value, column) for value, column in zip(values, columns, strict=True) if value is not None
    )
    assert [column for _, column in drawn] == sorted(column for _, column in drawn)
    assert all(column == 0 for value, column in zip(values, columns, strict=True) if value is None)
