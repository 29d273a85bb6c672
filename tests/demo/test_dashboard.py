"""The dashboard: sizes match the date shown, and both views show the right figures."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from segops.core.rules.model import KnownFor
from segops.core.segments import Definition
from segops.demo.dashboard import DashboardState
from segops.demo.history import OrderHistory
from segops.demo.input_events import input_event
from segops.demo.screen import frame, plain_line, screen
from tests.demo.test_verify import change

WEEK_MS = 7 * 86_400_000


class Progressed:
    def __init__(self, events: int, clock_ms: int, lag: int = 0) -> None:
        self.events, self.clock_ms, self.lag = events, clock_ms, lag


@pytest.fixture
def dashboard() -> DashboardState:
    events = [input_event(at * WEEK_MS, f"m{at}", "u1", {"type": "track"}) for at in range(1, 5)]
    return DashboardState(OrderHistory(events, 1), [Definition("vip", "Very important", KnownFor(1))])


def test_a_change_appears_once_every_partition_has_reached_it(dashboard: DashboardState) -> None:
    dashboard.note(change(2, occurred_at=3 * WEEK_MS, member=False))
    dashboard.note(change(1, occurred_at=WEEK_MS))
    dashboard.look(Progressed(1, WEEK_MS), 4)  # type: ignore[arg-type]
    assert (dashboard.segments["vip"].size, len(dashboard.latest)) == (1, 1)
    dashboard.look(Progressed(9, 4 * WEEK_MS), 4)  # type: ignore[arg-type]
    vip = dashboard.segments["vip"]
    assert (vip.size, vip.peak, vip.entered, vip.exited) == (0, 1, 1, 1)
    assert vip.curve == [1, 1, 0]
    assert dashboard.done == dashboard.total == 4


def test_final_figures_count_each_change_once_in_time_order(dashboard: DashboardState) -> None:
    changes = [
        change(1, occurred_at=WEEK_MS),
        change(1, occurred_at=2 * WEEK_MS, profile="user_id:u2"),
        change(2, occurred_at=2 * WEEK_MS, member=False),
    ]
    for each in changes:
        dashboard.note(each)
    dashboard.look(Progressed(1, WEEK_MS), 4)  # type: ignore[arg-type]
    dashboard.close(changes)
    dashboard.look(Progressed(4, 9 * WEEK_MS), 4)  # type: ignore[arg-type]
    vip = dashboard.segments["vip"]
    assert (vip.size, vip.peak, vip.entered, vip.exited) == (1, 1, 2, 1)


def test_the_frame_shows_figures_sizes_and_changes_and_fits_the_screen(dashboard: DashboardState) -> None:
    for sequence in range(1, 40):
        dashboard.note(change(sequence, occurred_at=WEEK_MS, profile=f"user_id:u{sequence}"))
    dashboard.look(Progressed(2, 2 * WEEK_MS, lag=1_234), 3)  # type: ignore[arg-type]
    console = Console(file=io.StringIO(), width=110, height=24, force_terminal=True)
    with console.capture() as captured:
        console.print(frame(dashboard, height=24))
    text = captured.get()
    assert len(text.splitlines()) < 24
    for part in ("1970-01-15", "2 of 4 events", "lag 1,234", "Very important", "+39", "indefinitely"):
        assert part in text


def test_without_a_terminal_plain_lines_are_printed(dashboard: DashboardState) -> None:
    dashboard.note(change(1, occurred_at=WEEK_MS))
    dashboard.look(Progressed(1, WEEK_MS), 4)  # type: ignore[arg-type]
    assert "1 of 4 events" in plain_line(dashboard)
    out = io.StringIO()
    with screen(Console(file=out)) as view:
        view.show(dashboard)
        view.show(dashboard)
    assert out.getvalue().count("vip 1") == 1
    assert "\x1b" not in out.getvalue()
