"""What the cases of ``make fuzz`` contain: each node, each key of a node and each operator, and its verdicts.

A case that never turns a node true, or never by time alone, proves little of it. The rows come from the
tables of the language, so that a new node, window or operator has its row without a change here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from segops.core.operators import EDGES, OPERATORS
from segops.core.rules.parsing import FIGURES, HEADS, WINDOW_KEYS
from segops.core.scoring.models import STANDARD_SCORES
from segops.core.segments import SegmentSet

from .core.oracle import ChangeSummary, Memberships, Oracle
from .core.strategies_lists import LISTINGS
from .core.strategies_scores import AFFINITIES, OWN_SCORES
from .core.test_equivalence import make_definition

_GROUPS = ("all", "any", "not", "at_least")
_KEYS = dict.fromkeys(key for head in HEADS.values() for key in head.keys)
Row = tuple[str, str]
Steps = list[tuple[str, Any]]
#: Every row of the table: what it is, and its name.
ROWS: tuple[Row, ...] = (
    *(("node", name) for name in HEADS),
    *(("figure", name) for name in FIGURES),
    *(("window" if name in WINDOW_KEYS else "key", name) for name in _KEYS),
    *(("operator", name) for name in OPERATORS),
    *(("score", name) for name in ("recency_days", *STANDARD_SCORES, *OWN_SCORES, *AFFINITIES)),
)
#: Rows whose verdict no instant changes by itself, and why; nothing is required of their last column. Beside
#: a part that does move, as a sliding window, a node of such a row flips by time all the same.
STILL: dict[Row, str] = {
    ("node", "bucket"): "the profile's id alone decides",
    ("node", "identified"): "identifiers come and go with events",
    ("node", "has_identifier"): "identifiers come with events",
    ("score", "average_order_value_expected"): "orders alone change it",
    **{
        ("window", name): "both ends are fixed, and no event is later than now" for name in ("since", "until")
    },
    **{("window", name): "begins with an event, and has no other end" for name in ("since_last", "same")},
    **{
        ("operator", name): "compares values without the present instant (operators.EDGES)"
        for name in OPERATORS
        if name not in EDGES
    },
}
#: Column -> which part of the required number of cases it must reach.
_PARTS = {"cases": 1.0, "true": 0.1, "false": 0.1, "by time": 0.1}
COLUMNS = (*_PARTS,)


class Written(NamedTuple):
    """A node as written, and the rows that it belongs to."""

    form: dict[str, Any]
    rows: frozenset[tuple[str, str]]


def nodes(form: dict[str, Any]) -> Iterator[Written]:
    """Yield all nodes below a node as written, and then the node.

    >>> for node in nodes({"not": {"did": "A", "within": "1h", "where": {"p": 1}}}):
    ...     print(sorted(node.rows))
    [('key', 'where'), ('node', 'did'), ('operator', 'eq'), ('window', 'within')]
    [('node', 'not')]
    """
    head = next(key for key in form if key in HEADS)
    rows = {("node", head)}
    if head in _GROUPS:
        below = form[head]["of"] if head == "at_least" else form[head]
        for child in below if isinstance(below, list) else [below]:
            yield from nodes(child)
    else:
        rows |= {("window" if key in WINDOW_KEYS else "key", key) for key in form if key != head}
        parts = {key: value for key, value in form.items() if key not in WINDOW_KEYS}
        rows |= {("operator", name) for name in _operators(parts, of_node=True)}
        rows |= {("figure", name) for name in _figures(form)}
        rows |= {("score", name) for name in _scores(form)}
    yield Written(form, frozenset(rows))


def _operators(value: Any, *, of_node: bool = False) -> Iterator[str]:
    """Yield the operators in what is written; ``of_node``: the keys of the value are those of a node."""
    if isinstance(value, list):
        for item in value:
            yield from _operators(item)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name in OPERATORS and not of_node:
                yield name
            yield from _operators(inner)
            if name == "where" and isinstance(inner, dict):  # a bare value means equality
                yield from ("eq" for test in inner.values() if not isinstance(test, dict))


def _figures(form: dict[str, Any]) -> Iterator[str]:
    """Yield the heads of the figures that a node compares."""
    ratio = form.get("ratio", {})
    for figure in (*form.get("compare", ()), ratio.get("of"), ratio.get("to")):
        if isinstance(figure, dict):
            yield from figure.keys() & FIGURES.keys()


def _scores(form: Any) -> Iterator[str]:
    """Yield the names of the scores in a node that is no group."""
    if isinstance(form, dict) and isinstance(form.get("score"), str):
        yield form["score"]
    for inner in form.values() if isinstance(form, dict) else form if isinstance(form, list) else ():
        yield from _scores(inner)


class _Watcher(Oracle):
    """The oracle without predictions, which take most of its time."""

    def _adopt(
        self, memberships: Memberships, now_ms: int, reason: str, event_id: str | None
    ) -> list[ChangeSummary]:
        changed = [key for key, now in memberships.items() if now.member is not self.memberships[key].member]
        self.memberships = memberships
        actions = {key: "entered" if memberships[key].member else "exited" for key in changed}
        return [ChangeSummary(key, actions[key], reason, now_ms, None, event_id) for key in changed]


class Goal(NamedTuple):
    """A row and a column of the table.

    >>> str(Goal(("node", "did"), "by time"))
    'node did: by time'
    """

    row: Row
    column: str

    def __str__(self) -> str:
        return f"{' '.join(self.row)}: {self.column}"


#: What is required of a case for each row: its number is to rise, and time alone cannot cause all of it.
GOALS = tuple(
    Goal(row, column) for row in ROWS for column in COLUMNS if column != "by time" or row not in STILL
)


class Coverage:
    """Counts, for each row, the cases with it, with each verdict of such a node, and with a flip by time."""

    def __init__(self) -> None:
        self.counts: dict[Row, Counter[str]] = {row: Counter() for row in ROWS}

    def add(self, segments: SegmentSet, steps: Steps, watermark: bool) -> None:
        """Count one case."""
        for row, columns in columns_of(segments, steps, watermark).items():
            self.counts[row].update(columns)

    def count(self, goal: Goal) -> int:
        """Return the number of cases for a goal."""
        return self.counts[goal.row][goal.column]

    def merge(self, other: Coverage) -> None:
        """Add the counts of other cases."""
        for row, counts in other.counts.items():
            self.counts[row].update(counts)

    def rarest(self, least: int = 0) -> list[Goal]:
        """Return the goals from the rarest on: those that ``lacking`` names, or all if there is none."""
        goals = sorted(GOALS, key=lambda goal: self.count(goal) / _PARTS[goal.column])
        return [goal for goal in goals if self.count(goal) < least * _PARTS[goal.column]] or goals

    def lacking(self, least: int) -> list[str]:
        """Return, as text, each row with fewer than ``least`` cases, verdicts or flips of a tenth of that."""
        missed = (goal for goal in GOALS if self.count(goal) < least * _PARTS[goal.column])
        return [f"{goal}, {self.count(goal):,}" for goal in missed]

    def table(self) -> str:
        """Return the counts, a line for each row, with the reason why time alone does not flip some."""
        lines = [f"{'':32}{''.join(f'{column:>9}' for column in COLUMNS)}"]
        for row in ROWS:
            counts, why = self.counts[row], f"  never by time: {STILL[row]}" if row in STILL else ""
            lines.append(f"{' '.join(row):32}{''.join(f'{counts[column]:9,}' for column in COLUMNS)}{why}")
        return "\n".join(lines)


def columns_of(segments: SegmentSet, steps: Steps, watermark: bool) -> dict[Row, set[str]]:
    """Return, for each row of the nodes of a case, the columns of the table that the case counts in."""
    written: dict[str, Written] = {}
    for definition in segments.definitions:
        *below, top = nodes(definition.written["when"])
        written |= {f"{definition.key}-{number}": node for number, node in enumerate(below)}
        written[definition.key if definition.policy is None else f"{definition.key}-alone"] = top
    found: dict[Row, set[str]] = {}
    for key, seen in _seen(segments, written, steps, watermark).items():
        for row in written[key].rows:
            found.setdefault(row, {"cases"}).update(seen)
    return found


def _seen(
    segments: SegmentSet, written: dict[str, Written], steps: Steps, watermark: bool
) -> dict[str, set[str]]:
    """Return the verdicts of each node, as if it were a segment of its own, and whether time changed one."""
    known = {definition.key for definition in segments.definitions}
    alone = [make_definition(key, node.form) for key, node in written.items() if key not in known]
    watcher = _Watcher([*segments.definitions, *alone])
    watcher.history.put_on(LISTINGS)
    seen: dict[str, set[str]] = {key: set() for key in written}
    clock_ms = -(10**15)
    for kind, arg in steps:
        if kind == "clock" or watermark:
            clock_ms = max(clock_ms, arg if kind == "clock" else arg.time_ms)
        changes = watcher.on_clock(clock_ms) if kind == "clock" else watcher.on_event(arg, clock_ms)
        for change in changes:
            if change.segment in seen:
                seen[change.segment] |= {"true", "false"} if change.action == "exited" else {"true"}
                seen[change.segment] |= {"by time"} if change.reason == "time" else set()
        if watcher.history.events:
            for key in seen.keys() - watcher.members:
                seen[key].add("false")
    return seen
