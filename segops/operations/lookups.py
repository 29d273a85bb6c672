"""The look-up tables that published segments read: what they hold, and the edit that replaces one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from segops.config import Settings
from segops.core.errors import UserError
from segops.core.lookups import Column, WrittenTable
from segops.kafka.definitions import DefinitionLog, read
from segops.operations.definitions import DefinitionChange, plan
from segops.operations.plans import Decide
from segops.schemas.segments import definition_from_record, definition_to_record


class PublishedColumn(msgspec.Struct, frozen=True):
    """A column that published segments read: its ``rows``, its compressed bytes, and those segments."""

    table: str
    column: str
    digest: str
    rows: int
    size: int
    used_by: tuple[str, ...]


async def published(settings: Settings) -> list[PublishedColumn]:
    """Return the columns that published segments read, by table and column."""
    log = await read(settings)
    users: dict[str, list[str]] = {}
    for key, definition in sorted(log.live.items()):
        for column in definition.columns:
            users.setdefault(column.digest, []).append(key)
    heads = (head for head in log.lookups.heads.values() if head.digest in users)
    found = [
        PublishedColumn(h.table, h.column, h.digest, h.rows, h.size, tuple(users[h.digest])) for h in heads
    ]
    return sorted(found, key=lambda each: (each.table, each.column, each.digest))


async def rows(settings: Settings, table: str) -> dict[str, Column]:
    """Return the columns of a table that published segments read, by name; two contents have digests, too.

    Raises UserError if no segment reads the table.
    """
    log = await read(settings)
    used = {column for each in log.live.values() for column in each.columns if column.table == table}
    if not used:
        raise UserError(_unread(table, log))
    names = Counter(column.name for column in used)
    ordered = sorted(used, key=lambda column: (column.name, column.digest))
    return {_title(each, alone=names[each.name] == 1): each for each in ordered}


def _title(column: Column, *, alone: bool) -> str:
    return column.name if alone else f"{column.name}@{column.digest[:12]}"


def replacement(table: str, rows: Mapping[str, dict[str, Any]]) -> Decide:
    """Return the edit that replaces a table in all published segments that read it.

    It raises UserError if none does, DefinitionError if a rule reads a column that the rows lack.
    """
    tables = {table: WrittenTable(table, rows)}

    def decide(log: DefinitionLog) -> list[DefinitionChange]:
        users = [each for each in log.live.values() if table in {column.table for column in each.columns}]
        if not users:
            raise UserError(_unread(table, log))
        found = [definition_from_record(definition_to_record(each), tables) for each in users]
        return plan(log, [each for each in found if each is not None], prune=False)

    return decide


def _unread(table: str, log: DefinitionLog) -> str:
    known = sorted({column.table for each in log.live.values() for column in each.columns})
    return f"no published segment reads the look-up table {table!r}; read: {', '.join(known) or 'none'}"
