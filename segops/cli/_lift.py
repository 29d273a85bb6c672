"""The lift of audiences in words and as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from segops.cli._say import table
from segops.core.audiences.lift import ENOUGH, Bounds, Verdict
from segops.core.values import format_duration, format_instant

if TYPE_CHECKING:
    from rich.table import Table

    from segops.operations.audiences.lifts import ArmView, LiftView

_COLUMNS: Final = ("arm", "entries", "left out", "open", "matured", "converted", "rate")
_VERDICTS: Final[Mapping[Verdict, str]] = {
    "higher": "the audience reaches the goal more often than the hold-out",
    "lower": "the audience reaches the goal less often than the hold-out",
    "no difference shown": "no difference is shown: the interval contains 0",
    "not enough": f"not enough entries: in each arm, {ENOUGH} must have reached the goal, and {ENOUGH} not",
}


def lift_blocks(each: LiftView) -> Iterator[str | Table]:
    """Yield the arms of an audience, its lift with the interval, and what that is about."""
    yield f"{each.key}: {_named(each.goal)} within {format_duration(each.window_ms)} of the entry"
    yield from (f"void: {reason}, so that nothing is delivered" for reason in each.void)
    if each.since_ms is None:
        yield _unmeasured(each)
        return
    yield table(_COLUMNS, map(_row, each.arms), figures=_COLUMNS[1:])
    yield from _differences(each)
    yield _VERDICTS[each.lift.verdict]
    since = f"entries since {format_instant(each.since_ms)}"
    if each.as_of_ms is None:
        yield f"{since}; no window is over before all workers have the history of the goal"
    else:
        yield f"{since}, as of {format_instant(each.as_of_ms)}"


def _unmeasured(each: LiftView) -> str:
    if each.state in ("draft", "waiting"):
        return "not measured yet: entries count from its approval on"
    return "not measured yet: publish it again with `segops audiences apply`"


def _named(goal: Mapping[str, object]) -> str:
    named = goal["did"]
    return named if isinstance(named, str) else " or ".join(map(str, named))  # type: ignore[call-overload]


def _row(arm: ArmView) -> Sequence[str]:
    counts = (arm.entries, arm.left_out, arm.open, arm.matured, arm.converted)
    rate = "" if arm.rate is None else f"{arm.rate:.2%}"
    return (arm.arm.replace("_", " "), *(f"{each:,}" for each in counts), rate)


def _differences(each: LiftView) -> Iterator[str]:
    absolute, relative = each.lift.absolute, each.lift.relative
    if absolute is not None:
        yield f"difference of the rates: {_shown(absolute, 'points')}"
    if relative is not None:
        yield f"relative: {_shown(relative, '%')}"


def _shown(bounds: Bounds, unit: str) -> str:
    value, low, high = (f"{100 * each:+.2f}" for each in (bounds.value, bounds.low, bounds.high))
    return f"{value} {unit}, 95 % interval from {low} to {high}"
