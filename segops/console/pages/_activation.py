"""What the pages of plans, audiences, destinations and data share: who acts, what is published, tones."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TypeVar

import msgspec
import yaml
from aiokafka.errors import KafkaError

from segops.config import Settings
from segops.console.page import Context
from segops.core.audiences.audit import Trust
from segops.core.audiences.model import Act
from segops.core.errors import SegopsError
from segops.delivery.views import Tally
from segops.operations.audiences.actors import signed_in
from segops.operations.audiences.store import Known

T = TypeVar("T")

_PROGRAM: Final = "console"
_HIDDEN: Final = "••••••"
#: How long a part of a page may take that is read from Kafka or from workers.
PART_S: Final = 8.0
#: State of an audience, or of a plan -> the tone of its tag.
TONES: Final[Mapping[str, str]] = {
    "draft": "neutral",
    "waiting": "warn",
    "active": "good",
    "held": "bad",
    "paused": "info",
    "retired": "neutral",
    "open": "accent",
    "applied": "good",
    "discarded": "neutral",
    "superseded": "neutral",
    "expired": "neutral",
    "closed": "bad",
    "unusable": "bad",
    "unknown": "neutral",
}


def acting(context: Context[Any]) -> Act:
    """Return the person who is signed in as the one who acts. Raises NotAllowed."""
    user, now_ms = context.user, context.now_ms
    is_verified = user.login != "open"
    return signed_in(context.settings, user.name, verified=is_verified, program=_PROGRAM, now_ms=now_ms)


def known_of(context: Context[Any]) -> Known:
    """Return the audiences and definitions as the read model has them."""
    settings: Settings = context.settings
    trust = Trust(settings.audiences.verifying_keys)
    board = context.board
    in_use = {key: each for key, each in board.definitions.items() if key not in board.left_out}
    return Known(board.log, in_use, board.audiences, trust, context.now_ms)


def members_of(context: Context[Any], definition_key: str) -> int | None:
    """Return how many members a definition has now; None if no worker has said it."""
    view = context.board.sizes.segment(definition_key)
    return None if view is None else view.members


def profiles_of(context: Context[Any]) -> int | None:
    """Return how many profiles there are."""
    found = context.board.sizes.population()
    return None if found is None else found.known


def tallies_by(context: Context[Any], name: Literal["audience", "destination"]) -> dict[str, list[Tally]]:
    """Return the deliveries in numbers of addresses, by their audience or destination, each in order."""
    found: dict[str, list[Tally]] = {}
    for each in sorted(context.board.deliveries.values(), key=lambda one: one.delivery[::-1]):
        found.setdefault(getattr(each.delivery, name), []).append(each)
    return found


def gate_of(context: Context[Any], destination: str) -> Mapping[str, Any]:
    """Return what is known of a destination: ``state``, ``reason``, ``oldest_ms``, ``waiting``, rates.

    Nothing is known of one that no process of ``segops activate`` has reported.
    """
    found = context.board.gates.get(destination)
    if found is None:
        return {"state": "unknown", "reason": "", "waiting": None, "oldest_ms": None, "per_minute": {}}
    built: Mapping[str, Any] = found if isinstance(found, Mapping) else msgspec.to_builtins(found)
    return {"state": "unknown", "reason": "", "waiting": None, "oldest_ms": None, "per_minute": {}} | dict(
        built
    )


async def part(
    missing: list[str], name: str, work: Awaitable[T], default: T, seconds: float | None = None
) -> T:
    """Return a part of a page; ``default``, with the reason in ``missing``, where it cannot be read now."""
    most_s = PART_S if seconds is None else seconds
    try:
        async with asyncio.timeout(most_s):
            return await work
    except TimeoutError:
        missing.append(f"{name}: no answer within {most_s:g} s")
    except (SegopsError, KafkaError) as error:
        missing.append(f"{name}: {error}")
    return default


def masked(context: Context[Any], text: str) -> str:
    """Return a text about a person, hidden from those who may not see it."""
    return text if context.user.sees_personal_data else _HIDDEN


def curl(context: Context[Any], path: str) -> str:
    """Return the command that reads a page's data."""
    return f"curl -H 'Authorization: Bearer TOKEN' {context.settings.console.address}{path}"


def as_yaml(written: object) -> str:
    """Return what people write, as YAML."""
    return yaml.safe_dump(written, sort_keys=False, allow_unicode=True, width=100).rstrip()


def difference(former: str, later: str) -> list[str]:
    r"""Return the lines that differ between two texts, after ``- `` and ``+ ``, with a little around them.

    >>> difference("a\nb", "a\nc")
    ['  a', '- b', '+ c']
    """
    from difflib import unified_diff

    lines = unified_diff(former.splitlines(), later.splitlines(), lineterm="", n=2)
    return [f"{line[:1]} {line[1:]}" for line in list(lines)[2:] if not line.startswith("@@")]


def chosen(rows: Iterable[Mapping[str, Any]], query: Mapping[str, str], names: Sequence[str]) -> list[Any]:
    """Return the rows whose values are those of the query; parameters that are empty ask for nothing."""
    asked = {name: query[name] for name in names if query.get(name)}
    return [row for row in rows if all(str(row[name]) == value for name, value in asked.items())]


def found_by(rows: Iterable[Mapping[str, Any]], text: str, names: Sequence[str]) -> list[Any]:
    """Return the rows that have a text in one of these values."""
    wanted = text.strip().casefold()
    return [row for row in rows if any(wanted in str(row[name]).casefold() for name in names)]


PAGE_ROWS: Final = 50


def paged(rows: Sequence[T], query: Mapping[str, str]) -> tuple[Sequence[T], int, int]:
    """Return one page of rows, its number from 1, and how many pages there are."""
    count = max(1, -(-len(rows) // PAGE_ROWS))
    asked = query.get("page", "1")
    number = min(int(asked), count) if asked.isdecimal() and 0 < len(asked) < 7 else 1
    number = max(1, number)
    return rows[(number - 1) * PAGE_ROWS : number * PAGE_ROWS], number, count
