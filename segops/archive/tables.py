"""The columns of the archive: what the Parquet files of profile events and of membership changes hold.

The first columns give a record back exactly as it was read; the others are for analytics and for erasures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec
import pyarrow as pa

from segops.archive.identifiers import (
    decode_event,
    identifier_hash,
    named_in_event,
    named_in_message,
    named_in_value,
    type_of,
)
from segops.config import Settings
from segops.core.events import Change
from segops.schemas.changes import decode_change
from segops.schemas.identifying import IdentityLimits, limits_of
from segops.schemas.records import SOURCE_HEADER, TIME_HEADER, Headers, Record

_INSTANT: Final = pa.timestamp("ms", tz="UTC")
_HEADER: Final = pa.struct([("name", pa.string()), ("value", pa.binary())])
_RECORD: Final = [
    ("topic", pa.string()),
    ("partition", pa.int32()),
    ("offset", pa.int64()),
    ("timestamp", _INSTANT),
    ("key", pa.binary()),
    ("value", pa.binary()),
    ("headers", pa.list_(pa.field("element", _HEADER))),
    ("type", pa.string()),
    ("source", pa.string()),
    #: Whether an erased identifier was replaced by null in ``value``.
    ("redacted", pa.bool_()),
    #: The first 64 bits of the SHA-256 of each identifier that the record names.
    ("identifier_hashes", pa.list_(pa.field("element", pa.int64()))),
]
#: What is read to give the records back.
RECORD_COLUMNS: Final = ("offset", "timestamp", "key", "value", "headers")
_EVENT: Final = [
    ("profile_id", pa.string()),
    ("name", pa.string()),
    ("message_id", pa.string()),
    ("time", _INSTANT),
]
_CHANGE: Final = [
    ("profile_id", pa.string()),
    ("segment_key", pa.string()),
    ("segment_version", pa.int64()),
    ("action", pa.string()),
    ("member", pa.bool_()),
    ("reason", pa.string()),
    ("occurred_at", _INSTANT),
    ("evaluated_at", _INSTANT),
    ("sequence", pa.int64()),
    ("change_id", pa.string()),
    ("event_id", pa.string()),
    ("flips_at", _INSTANT),
    ("user_id", pa.string()),
    ("anonymous_id", pa.string()),
    ("email", pa.string()),
    ("traits_json", pa.string()),
    ("merged_into", pa.string()),
]


class ArchivedRecord(NamedTuple):
    """A record as the archive gives it back."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class ArchiveRow(NamedTuple):
    """A record with its further columns.

    ``identifiers``: all that it names, beginning with its key. ``written_ms``: when it was written to its
    topic, as far as the record says so. ``fields``: the columns for analytics.
    """

    record: Record
    identifiers: tuple[str, ...]
    written_ms: int
    fields: tuple[object, ...]
    redacted: bool = False


@dataclass(frozen=True)
class Table:
    """The kind of rows of one topic.

    ``is_log``: the offsets of receipts are positions in this topic.
    """

    topic: str
    schema: pa.Schema
    describe: Callable[[Record], ArchiveRow]
    is_log: bool


def tables_of(settings: Settings) -> dict[str, Table]:
    """Return the table of each archived topic."""
    topics, limits = settings.topics, limits_of(settings)
    events, changes = pa.schema([*_RECORD, *_EVENT]), pa.schema([*_RECORD, *_CHANGE])
    describe = partial(_describe_event, limits=limits)
    return {
        topics.profile_events: Table(topics.profile_events, events, describe, is_log=True),
        topics.membership_changes: Table(topics.membership_changes, changes, _describe_change, is_log=False),
    }


def _describe_event(record: Record, limits: IdentityLimits) -> ArchiveRow:
    key = _text(record.key)
    event = decode_event(record, limits)
    if event is None:
        named = named_in_message(record.value) if record.key is not None else ()
        return ArchiveRow(record, _distinct(key, named), record.timestamp, (key, None, None, None))
    time = next((value for name, value in record.headers if name == TIME_HEADER), b"")
    fields = (key, event.name, event.message_id or None, int(time) if time.isdigit() else None)
    return ArchiveRow(record, _distinct(key, named_in_event(event, limits)), record.timestamp, fields)


def _describe_change(record: Record) -> ArchiveRow:
    key = _text(record.key)
    try:
        change = decode_change(record.value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ArchiveRow(record, _distinct(key, ()), record.timestamp, (key, *(None for _ in _CHANGE[1:])))
    return ArchiveRow(
        record, _distinct(key, _named_in_change(change)), change.evaluated_at, msgspec.structs.astuple(change)
    )


def _named_in_change(change: Change) -> Iterator[str]:
    yield from named_in_value([change.profile_id, change.merged_into])
    for kind in ("user_id", "anonymous_id", "email"):
        value = getattr(change, kind)
        if value is not None:
            yield f"{kind}:{value}"


def _distinct(key: str | None, named: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([key, *named] if key is not None else named))


def _text(key: bytes | None) -> str | None:
    return None if key is None else key.decode(errors="replace")


def arrow_of(table: Table, partition: int, rows: Sequence[ArchiveRow]) -> pa.Table:
    """Return rows as an Arrow table."""
    if not rows:
        return table.schema.empty_table()
    records = [row.record for row in rows]
    sources = [next((v for n, v in record.headers if n == SOURCE_HEADER), None) for record in records]
    columns: list[Sequence[Any]] = [
        [table.topic] * len(rows),
        [partition] * len(rows),
        [record.offset for record in records],
        [record.timestamp for record in records],
        [record.key for record in records],
        [record.value for record in records],
        [[{"name": name, "value": value} for name, value in record.headers] for record in records],
        [type_of(record) for record in records],
        [_text(source) for source in sources],
        [row.redacted for row in rows],
        [[identifier_hash(each) for each in row.identifiers] for row in rows],
        *zip(*(row.fields for row in rows), strict=True),
    ]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, table.schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=table.schema)


def records_of(batch: pa.RecordBatch | pa.Table) -> list[ArchivedRecord]:
    """Return the records of an Arrow batch that has the ``RECORD_COLUMNS``."""
    columns = (batch.column(name) for name in RECORD_COLUMNS)
    offsets, timestamps, keys, values, headers = columns
    lists = (
        offsets.to_pylist(),
        timestamps.cast(pa.int64()).to_pylist(),
        keys.to_pylist(),
        values.to_pylist(),
    )
    named = [[(each["name"], each["value"]) for each in row] for row in headers.to_pylist()]
    return [ArchivedRecord(*row) for row in zip(*lists, named, strict=True)]
