"""An output that records all that is published, for tests of the processors without Kafka."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, cast

import msgspec

from segops.core.events import Change, IndicatorValue
from segops.core.messages import Message, Rows
from segops.core.step import Erased
from segops.schemas.messages import decode_message
from segops.schemas.records import Headers, Record
from segops.schemas.scans import Answer
from segops.schemas.sizes import Published, RecordKey, decode_published, encode_published, key_of, parse_key
from segops.schemas.ticks import TICK_HEADERS
from segops.streaming.partition.output import QuarantineRecord


class Forwarded(NamedTuple):
    """A record forwarded to profile events; ``key`` is None for one to all partitions."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp: int | None = None


class RecordingOutput:
    """The ``Output`` that keeps publications in lists, each in the order of publication.

    >>> output = RecordingOutput()
    >>> output.broadcast(b"{}")
    >>> output.forwarded
    [Forwarded(key=None, value=b'{}', headers=[('segops-type', b'tick')], timestamp=None)]
    """

    def __init__(self) -> None:
        self.forwarded: list[Forwarded] = []
        self.changes: list[Change] = []
        self.rejected: list[tuple[Record, str, str]] = []
        self.dead_letters: list[tuple[Record, str, str]] = []
        self.sent: list[Message] = []
        self.moved: list[Rows] = []
        self.erasures: list[Erased] = []
        self.deleted_rows: list[bytes] = []
        self.values: list[IndicatorValue] = []
        self.deleted_values: list[bytes] = []
        self.figures: list[Published] = []
        self.deleted_sizes: list[RecordKey] = []
        #: The offset of the record that caused each erasure.
        self.erased_by: list[int] = []
        self.letters: list[QuarantineRecord] = []
        self.releases: list[str] = []
        self.answers: list[Answer] = []
        self.waits: list[tuple[str, int | None]] = []

    def forward(self, key: bytes, value: bytes | None, *, headers: Headers, timestamp: int) -> None:
        self.forwarded.append(Forwarded(key, value, headers, timestamp))

    def broadcast(self, value: bytes, *, headers: Headers = TICK_HEADERS) -> None:
        self.forwarded.append(Forwarded(None, value, headers))

    def answer(self, answer: Answer) -> None:
        self.answers.append(msgspec.structs.replace(answer))

    def move(self, rows: Rows) -> None:
        self.moved.append(rows)

    def emit(self, changes: Sequence[Change], *, arrived_ms: int | None) -> None:
        self.changes.extend(changes)

    def publish_values(self, values: Sequence[IndicatorValue]) -> None:
        self.values.extend(values)

    def delete_values(self, keys: Sequence[bytes]) -> None:
        self.deleted_values.extend(keys)

    def reject(self, record: Record, reason: str, detail: str) -> None:
        self.rejected.append((record, reason, detail))

    def dead_letter(self, record: Record, reason: str, detail: str) -> None:
        self.dead_letters.append((record, reason, detail))

    def send(self, messages: Sequence[Message], *, arrived_ms: int) -> None:
        self.sent.extend(messages)

    def send_encoded(self, to: str, kind: str, value: bytes, *, arrived_ms: int) -> None:
        self.sent.append(cast("Message", decode_message(value)))

    def erased(self, erased: Sequence[Erased], segments: Collection[str], *, offset: int) -> None:
        self.erasures.extend(erased)
        self.erased_by.extend(offset for _ in erased)

    def delete_rows(self, keys: Sequence[bytes]) -> None:
        self.deleted_rows.extend(keys)

    def publish_figures(self, record: Published) -> None:
        self.figures.append(decode_published(parse_key(key_of(record)), encode_published(record)))

    def delete_size(self, key: RecordKey) -> None:
        self.deleted_sizes.append(key)

    def quarantine(self, record: QuarantineRecord) -> None:
        self.letters.append(record)

    def released(self, profile_id: str) -> None:
        self.releases.append(profile_id)

    def wait_started(self, profile_id: str) -> None:
        self.waits.append((profile_id, None))

    def wait_ended(self, profile_id: str, identifiers: int) -> None:
        self.waits.append((profile_id, identifiers))
