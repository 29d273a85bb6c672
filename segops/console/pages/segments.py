"""The list of segments: live sizes, what moved in 24 hours, state, and where they are delivered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from segops.console.board.board import Board
from segops.console.board.rows import Row
from segops.console.page import Action, Context, Data, Page
from segops.console.pages._board import (
    TONES,
    condition,
    destinations_of,
    is_segment,
    spark_of,
    spark_path,
    state_of,
)
from segops.console.rendering import address, quoted
from segops.core.audiences.model import PREFIX

SHOWN: Final = 50
_MOST_PAGES: Final = 10_000
#: Sparks drawn before other requests have their turn.
_SLICE: Final = 10
_KINDS: Final = {"": "Segments", "audiences": "Audiences"}
_STATES: Final = ("live", "building", "paused", "left out", "starting", "retired")


class Listed(NamedTuple):
    """A segment as it is searched, filtered and sorted."""

    key: str
    name: str
    version: int
    state: str
    row: Row | None
    delivered: Sequence[str]


def _figure(of: Callable[[Row], float | None]) -> Callable[[Listed], tuple[float, str]]:
    def key(each: Listed) -> tuple[float, str]:
        value = None if each.row is None else of(each.row)
        return (1.0 if value is None else -value, each.key)

    return key


#: Name of an order -> its label, and its key; figures are sorted from the greatest down.
_SORTS: Final[Mapping[str, tuple[str, Callable[[Listed], Any]]]] = {
    "name": ("Name", lambda each: (each.name.casefold(), each.key)),
    "members": ("Members", _figure(lambda row: row.members)),
    "net": ("Change in 24 h", _figure(lambda row: abs(row.adds - row.drops))),
    "adds": ("Entered in 24 h", _figure(lambda row: row.adds)),
    "drops": ("Left in 24 h", _figure(lambda row: row.drops)),
    "volatility": ("Volatility", _figure(lambda row: row.volatility)),
    "state": ("State", lambda each: (_STATES.index(each.state), each.key)),
}


async def _segments(context: Context[Board]) -> Data:
    board, asked = context.board, _asked(context.query)
    found = _found(board, asked)
    at = min(asked["at"], max(0, len(found) - 1) // SHOWN * SHOWN)
    shown = found[at : at + SHOWN]
    rows = []
    for number, each in enumerate(shown):
        rows.append(_row(board, each))
        if number % _SLICE == _SLICE - 1:
            await asyncio.sleep(0)
    filters = {name: asked[name] for name in ("q", "kind", "state", "to", "sort")}
    return {
        **condition(board),
        "rows": rows,
        "total": len(found),
        "from": at + 1 if found else 0,
        "until": at + len(shown),
        "asked": filters,
        "kinds": _KINDS,
        "states": _STATES,
        "destinations": sorted({name for names in destinations_of(board).values() for name in names}),
        "sorts": {name: label for name, (label, _) in _SORTS.items()},
        "before": address("/segments", {**filters, "at": at - SHOWN or None}) if at else "",
        "after": address("/segments", {**filters, "at": at + SHOWN}) if at + SHOWN < len(found) else "",
        "live": live_address([each.key for each in shown if each.row is not None]),
        "any": bool(board.definitions),
        "cli": "segops segments --all",
        "curl": f"curl '{context.settings.console.address}{address('/segments.json', filters)}'",
    }


def live_address(keys: Sequence[str]) -> str:
    """Return the address of the stream of these segments; "" without any."""
    return address("/live", {"page": "segments", "keys": " ".join(keys)}) if keys else ""


def _asked(query: Mapping[str, str]) -> dict[str, Any]:
    at = query.get("at", "")
    return {
        "q": query.get("q", "").strip()[:200],
        "kind": query.get("kind", "") if query.get("kind", "") in _KINDS else "",
        "state": query.get("state", "") if query.get("state", "") in _STATES else "",
        "to": query.get("to", "")[:64],
        "sort": query.get("sort", "") if query.get("sort", "") in _SORTS else "members",
        "at": min(int(at), SHOWN * _MOST_PAGES) // SHOWN * SHOWN if at.isdecimal() and len(at) < 9 else 0,
    }


def _found(board: Board, asked: Mapping[str, Any]) -> list[Listed]:
    text, delivered = asked["q"].casefold(), destinations_of(board)
    found = [
        each
        for each in _listed(board, asked["kind"], delivered, retired=asked["state"] == "retired")
        if text in each.key or text in each.name.casefold()
    ]
    found = [each for each in found if asked["state"] in ("", each.state)]
    found = [each for each in found if not asked["to"] or asked["to"] in each.delivered]
    return sorted(found, key=_SORTS[asked["sort"]][1])


def _listed(
    board: Board, kind: str, delivered: Mapping[str, Sequence[str]], *, retired: bool
) -> list[Listed]:
    if retired:
        return [Listed(key, key, n, "retired", None, ()) for key, n in board.log.retired.items()]
    wanted = _WANTED[kind]
    return [
        Listed(
            key, each.name, each.version, state_of(board, key), board.rows.get(key), delivered.get(key, ())
        )
        for key, each in board.definitions.items()
        if wanted(key, each)
    ]


_WANTED: Final[Mapping[str, Callable[[str, Any], bool]]] = {
    "": is_segment,
    "audiences": lambda key, _: key.startswith(PREFIX),
}


def _row(board: Board, each: Listed) -> dict[str, Any]:
    row, spark = each.row, spark_of(board, each.key)
    return {
        "key": each.key,
        "name": each.name,
        "href": f"/segments/{quoted(each.key)}",
        "version": each.version,
        "state": each.state,
        "tone": TONES[each.state],
        "progress": None if row is None else row.progress,
        "members": None if row is None else row.members,
        "adds": None if row is None else row.adds,
        "drops": None if row is None else row.drops,
        "net": None if row is None else row.adds - row.drops,
        "volatility": None if row is None else row.volatility,
        "delivered": list(each.delivered),
        "spark": spark,
        "path": spark_path(spark),
    }


class SegmentsSource:
    """Rows of segments in the live stream: key -> members, entered and left in 24 hours, state.

    ``keys``: only these, None: all. A message has at most ``most`` rows; the others come in the next ones.
    """

    def __init__(self, board: Board, keys: frozenset[str] | None, most: int = 2_000) -> None:
        self._board = board
        self._keys = keys
        self._most = most
        self._changed = board.subscribe(keys)
        self._as_of_ms: int | None = None

    def snapshot(self) -> Mapping[str, Any]:
        """Return the rows, at most as many as a message has."""
        keys = [*(self._board.rows if self._keys is None else self._keys)][: self._most]
        return self._message(keys)

    def delta(self) -> Mapping[str, Any] | None:
        """Return the rows that changed; without any, as of when that is so."""
        found = self._changed.take(self._most)
        as_of_ms, former = self._board.as_of_ms, self._as_of_ms
        self._as_of_ms = as_of_ms
        return self._message(found) if found or as_of_ms != former else None

    def close(self) -> None:
        """Hear of no further changes."""
        self._board.unsubscribe(self._changed)

    def _message(self, keys: Sequence[str]) -> Mapping[str, Any]:
        rows, paused = self._board.rows, self._board.definitions
        found = ((key, rows.get(key)) for key in keys)
        return {
            "as_of_ms": self._board.as_of_ms,
            "rows": {
                key: (row.members, row.adds, row.drops, "paused" if _is_paused(paused, key) else row.state)
                for key, row in found
                if row is not None
            },
        }


def _is_paused(definitions: Mapping[str, Any], key: str) -> bool:
    found = definitions.get(key)
    return found is not None and found.paused


PAGES: tuple[Page[Any], ...] = (Page("/segments", "segments.html", "Segments", _segments),)
ACTIONS: tuple[Action[Any, Any], ...] = ()
