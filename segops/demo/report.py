"""What the demo says at its end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from segops.core.values import format_instant
from segops.demo.dashboard import DashboardState
from segops.demo.environment import Environment
from segops.demo.history import OrderHistory
from segops.demo.run import Processes, RunResult

_SHOWN: Final = 10


def summary(outcome: RunResult, scene: DashboardState, history: OrderHistory) -> str:
    """What happened, and whether it is what had to happen."""
    return "\n".join((*_sizes(scene), "", *_figures(outcome, scene, history), "", *_verdict(outcome)))


def _sizes(scene: DashboardState) -> Iterator[str]:
    width = max(len(each.name) for each in scene.segments.values())
    yield f"{'segment':<{width}}  {'members':>8} {'at most':>8} {'entered':>8} {'exited':>8}"
    for each in scene.segments.values():
        figures = (each.size, each.peak, each.entered, each.exited)
        yield f"{each.name:<{width}}  " + " ".join(f"{figure:>8,}" for figure in figures)


def _figures(outcome: RunResult, scene: DashboardState, history: OrderHistory) -> Iterator[str]:
    first, final = (format_instant(ms)[:10] for ms in (history.first_ms, history.final_ms))
    days = (history.final_ms - history.first_ms) / 86_400_000
    yield (
        f"{scene.total:,} events of {history.people:,} customers, and {days:,.0f} days ({first} to {final}), "
        f"in {scene.elapsed_s:.0f} s; all events were applied after {scene.applied_s:.0f} s "
        f"({scene.total / max(scene.applied_s, 0.001):,.0f}/s)"
    )
    yield (
        f"{scene.changes.total():,} membership changes: {scene.changes['event']:,} because of an event, "
        f"{scene.changes['time']:,} because time passed, {scene.changes['merge']:,} because "
        f"{outcome.merges:,} visitors logged in and became one with their accounts; "
        f"{outcome.duplicates:,} of them came twice, {outcome.late:,} events were late, "
        f"{outcome.dead_letters:,} refused"
    )


def _verdict(outcome: RunResult) -> Iterator[str]:
    differences = outcome.differences
    changes, state = outcome.changes, outcome.state
    compared = (
        f"{changes.compared:,} changes of {changes.profiles:,} profiles compared, field by field, with the "
        f"replay of the same input; {state.compared:,} rows of the state with the last changes"
    )
    if not differences:
        yield f"VERIFIED: {compared}: no difference"
        return
    yield f"FAILED: {compared}: {len(differences):,} differences"
    yield from (f"  {difference}" for difference in differences[:_SHOWN])
    if len(differences) > _SHOWN:
        yield f"  and {len(differences) - _SHOWN:,} more"


def how_to_look(stage: Environment, cast: Processes) -> str:
    """How to watch and question what is still running, and how to end it."""
    variables = (
        "SEGOPS_KAFKA_BOOTSTRAP_SERVERS",
        "SEGOPS_TOPIC_PREFIX",
        "SEGOPS_PARTITIONS",
        "SEGOPS_APP_ID",
    )
    exports = " ".join(f"{name}={stage.environment[name]}" for name in variables)
    pages = ", ".join(f"http://127.0.0.1:{port}/metrics" for port in cast.ports)
    return f"""
Broker and worker go on. In another terminal:
  export {exports}
  segops watch --once            the sizes of all segments
  segops watch                   changes as they come
  segops topics describe         what is in the topics
Metrics: {pages}
Files:   {stage.folder}
Ctrl-C here stops them."""
