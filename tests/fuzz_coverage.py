"""What the cases of ``make fuzz`` contain: each node, each key of a node and each operator, and its verdicts.

A case that never turns a node true, or never by time alone, proves little of it. The rows come from the
tables of the language, so that a new node, window or operator has its row without a change here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from segops.core.operators import EDGES, OPERATORS
from segops.core.rules.parsing import HEADS, WINDOW_KEYS, Context, read_indicators, read_rfm, read_rule
from segops.core.segments import Definition, SegmentSet

from .core.oracle import ChangeSummary, Memberships, Oracle
from .core.strategies import RFM
from .core.strategies_areas import area_context
from .core.strategies_figures import INDICATORS
from .core.strategies_lists import LISTINGS, LISTS

_GROUPS = ("all", "any", "not", "at_least")
_KEYS = dict.fromkeys(key for head in HEADS.values() for key in head.keys)
#: Every row of the table: what it is, and its name.
ROWS: tuple[tuple[str, str], ...] = (
    *(("node", name) for name in HEADS),
    *(("window" if name in WINDOW_KEYS else "key", name) for name in _KEYS),
    *(("operator", name) for name in OPERATORS),
)
#: What no instant changes by itself.
_STILL = {
    ("node", "bucket"),
    *(("window", name) for name in ("since", "until", "since_last", "same")),
    *(("operator", name) for name in OPERATORS if name not in EDGES),
}
COLUMNS = ("cases", "true", "false", "by time")


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


class _Watcher(Oracle):
    """The oracle without predictions, which take most of its time."""

    def _adopt(
        self, memberships: Memberships, now_ms: int, reason: str, event_id: str | None
    ) -> list[ChangeSummary]:
        changed = [key for key, now in memberships.items() if now.member is not self.memberships[key].member]
        self.memberships = memberships
        actions = {key: "entered" if memberships[key].member else "exited" for key in changed}
        return [ChangeSummary(key, actions[key], reason, now_ms, None, event_id) for key in changed]


class Coverage:
    """Counts, for each row, the cases with it, with each verdict of such a node, and with a flip by time."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], Counter[str]] = {row: Counter() for row in ROWS}

    def add(self, segments: SegmentSet, steps: list[tuple[str, Any]], watermark: bool) -> None:
        """Count one case."""
        written = {
            f"node-{number}": node
            for number, node in enumerate(
                node for d in segments.definitions for node in nodes(d.written["when"])
            )
        }
        found: dict[tuple[str, str], set[str]] = {}
        for key, seen in _seen(segments, written, steps, watermark).items():
            for row in written[key].rows:
                found.setdefault(row, {"cases"}).update(seen)
        for row, seen in found.items():
            self.counts[row].update(seen)

    def lacking(self, least: int) -> list[str]:
        """Return, as text, each count that is below ``least``, without those that time alone cannot cause."""
        return [
            f"{kind} {name}: {self.counts[kind, name][column]:,} {column}"
            for kind, name in ROWS
            for column in COLUMNS
            if self.counts[kind, name][column] < least
            and not (column == "by time" and (kind, name) in _STILL)
        ]

    def table(self) -> str:
        """Return the counts, a line for each row."""
        lines = [f"{'':32}{''.join(f'{column:>9}' for column in COLUMNS)}"]
        for kind, name in ROWS:
            counts = self.counts[kind, name]
            lines.append(f"{kind + ' ' + name:32}{''.join(f'{counts[column]:9,}' for column in COLUMNS)}")
        return "\n".join(lines)


def _seen(
    segments: SegmentSet, written: dict[str, Written], steps: list[tuple[str, Any]], watermark: bool
) -> dict[str, set[str]]:
    """Return the verdicts of each node, as if it were a segment of its own, and whether time changed one."""
    context = area_context("fuzz", read_rfm(RFM, "rfm", Context("fuzz")))
    context.indicators = read_indicators(INDICATORS, "indicators", context)
    context.lists = LISTS
    alone = [
        Definition(key, key, read_rule(node.form, key, context), written={}) for key, node in written.items()
    ]
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
