"""The columns of look-up tables on Kafka: they are published before the definitions that read them.

A column whose digest no definition and no open plan reads is kept for a week, since a partition may still
have to finish work by a former definition, and is then removed by the next publication.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from segops.config import Settings
from segops.core.lookups import Column
from segops.core.segments import Definition
from segops.kafka.definitions import DefinitionLog
from segops.kafka.publication import Records, publisher
from segops.schemas.planned import PlannedEdit
from segops.schemas.published_lookups import Head, records_of

#: How long a column is kept that nothing reads, in ms.
KEPT_MS: Final = 7 * 86_400_000
_MENTION: Final = b'"lookups":'


async def publish_columns(settings: Settings, log: DefinitionLog, definitions: Iterable[Definition]) -> None:
    """Publish the columns that definitions read and that a log lacks, so that workers can judge by them.

    Raises UserError if another publisher commits first.
    """
    records = missing_records(log, (column for each in definitions for column in each.columns))
    if records:
        async with publisher(settings.kafka, settings.topics.segments) as publish_all:
            await publish_all(records)


def missing_records(log: DefinitionLog, columns: Iterable[Column]) -> list[tuple[bytes, bytes]]:
    """Return the records that publish those of some columns that are not published yet."""
    found: dict[bytes, bytes] = {}
    for column in columns:
        if column.digest not in log.lookups.columns:
            found.update(records_of(column)[1])
    return list(found.items())


def column_records(
    log: DefinitionLog, published: Records, planned: PlannedEdit | None, now_ms: int
) -> tuple[Records, Records]:
    """Return what publishing definitions does to columns: the records before them, and those after.

    ``published``: the records of the definitions; ``planned``: the plan afterwards.
    """
    changed = {key: value for key, value in published if value is not None}
    if not log.lookups.heads and not any(_MENTION in value for value in changed.values()):
        return (), ()
    later = log.after(changed)
    definitions = list(later.live.values())
    if planned is not None and planned.state == "open":
        definitions += later.after(planned.records).live.values()
    used = {column.digest: column for each in definitions for column in each.columns}
    return missing_records(log, used.values()), list(_upkeep(log, used, now_ms))


def _upkeep(log: DefinitionLog, used: dict[str, Any], now_ms: int) -> Iterator[tuple[bytes, bytes | None]]:
    """Yield the records that note which columns nothing reads, and that remove those unused for long."""
    for head in log.lookups.heads.values():
        if head.digest in used:
            if head.unused_ms is not None:
                yield _noted(head, None)
        elif head.unused_ms is None:
            yield _noted(head, now_ms)
        elif now_ms - head.unused_ms >= KEPT_MS:
            yield from ((key, None) for key in head.keys)


def _noted(head: Head, unused_ms: int | None) -> tuple[bytes, bytes]:
    return head.key, msgspec.json.encode(msgspec.structs.replace(head, unused_ms=unused_ms))
