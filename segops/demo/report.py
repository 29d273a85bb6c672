"""The demo's final report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from segops.core.values import format_instant
from segops.demo.activation import Delivered
from segops.demo.dashboard import DashboardState
from segops.demo.edit import REASONS
from segops.demo.environment import AUDIENCE, Environment
from segops.demo.history import OrderHistory
from segops.demo.run import Processes, RunResult

_SHOWN: Final = 10


def summary(result: RunResult, dashboard: DashboardState, history: OrderHistory) -> str:
    """Return the report: segment sizes, figures of the run, and the verdict."""
    parts = (*_sizes(dashboard), "", *_figures(result, dashboard, history), "", *_verdict(result))
    return "\n".join(parts)


def _sizes(dashboard: DashboardState) -> Iterator[str]:
    width = max(len(each.name) for each in dashboard.segments.values())
    yield f"{'segment':<{width}}  {'members':>8} {'peak':>8} {'entered':>8} {'exited':>8}"
    for each in dashboard.segments.values():
        figures = (each.size, each.peak, each.entered, each.exited)
        yield f"{each.name:<{width}}  " + " ".join(f"{figure:>8,}" for figure in figures)


def _figures(result: RunResult, dashboard: DashboardState, history: OrderHistory) -> Iterator[str]:
    first, final = (format_instant(ms)[:10] for ms in (history.first_ms, history.final_ms))
    days = (history.final_ms - history.first_ms) / 86_400_000
    speed = dashboard.total / max(dashboard.applied_s, 0.001)
    yield (
        f"{dashboard.total:,} events of {history.people:,} customers over {days:,.0f} days "
        f"({first} to {final}) in {dashboard.elapsed_s:.0f} s: {dashboard.applied_s:.0f} s for all events "
        f"({speed:,.0f}/s), {dashboard.pause_s:.0f} s for the edit"
    )
    changes = dashboard.changes
    edited = sum(changes[reason] for reason in REASONS)
    yield (
        f"{result.over_http:,} of the events came through the collector, in {result.requests:,} requests "
        f"like those of Segment's SDK for Python; {result.repeated:,} was sent twice, and counts once. The "
        "others were written to Kafka"
    )
    yield (
        f"{changes.total():,} membership changes: {changes['event']:,} caused by events, "
        f"{changes['time']:,} by time, {edited:,} by the edit, "
        f"{changes['merge']:,} by the merge of {result.merges:,} visitors with "
        f"their accounts when they logged in; {result.duplicates:,} duplicates, "
        f"{result.late:,} late events, {result.dead_letters:,} dead letters"
    )
    yield _delivered(result.delivered)


def _delivered(found: Delivered) -> str:
    return (
        f"The audience {AUDIENCE}: {found.entries:,} entries and {found.exits:,} exits went to a webhook, "
        f"signed, and to a list in a stand-in of Klaviyo, in {found.requests:,} requests; "
        f"{found.repeated:,} were sent twice. After {found.at_most:,} entries the breaker held it: "
        f"{found.holds:,} time(s)"
    )


def _verdict(result: RunResult) -> Iterator[str]:
    differences = result.differences
    changes, state = result.changes, result.state
    first, at_last, at_end = result.delivered.members
    compared = (
        f"{changes.compared:,} changes of {changes.profiles:,} profiles compared field by field with the "
        f"replay of the same input, {state.compared:,} rows of the state topic with the latest changes, and "
        f"both destinations with the {first:,} members after the approval, the {at_last:,} at the last "
        f"order, and the {at_end:,} at the end"
    )
    if not differences:
        yield f"VERIFIED: {compared}: no differences"
        return
    yield f"FAILED: {compared}: {len(differences):,} differences"
    yield from (f"  {difference}" for difference in differences[:_SHOWN])
    if len(differences) > _SHOWN:
        yield f"  and {len(differences) - _SHOWN:,} more"


def how_to_look(environment: Environment, processes: Processes) -> str:
    """Return instructions to watch, query and stop the running system."""
    variables = (
        "SEGOPS_KAFKA_BOOTSTRAP_SERVERS",
        "SEGOPS_TOPIC_PREFIX",
        "SEGOPS_PARTITIONS",
        "SEGOPS_APP_ID",
    )
    exports = " ".join(f"{name}={environment.variables[name]}" for name in variables)
    pages = ", ".join(f"http://127.0.0.1:{port}/metrics" for port in processes.ports)
    return f"""
Everything is still running, and the history goes on, again, some 10 events a second. In another terminal:
  export {exports}
  segops watch --once            the sizes of all segments
  segops segments                their versions, states and trends
  segops watch                   changes as they happen
  segops topics describe         the topics and their contents
Metrics: {pages}
Files:   {environment.folder}
Ctrl-C here stops them."""
