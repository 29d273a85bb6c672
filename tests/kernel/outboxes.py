"""An output of a partition whose outboxes the kernel fills, for tests."""

from __future__ import annotations

from itertools import chain
from typing import Any

from aiokafka.record.memory_records import MemoryRecords

from segops.config import TopicSettings
from segops.kernel import found
from segops.schemas.changes import decode_change
from segops.schemas.messages import decode_message, name_of
from segops.streaming.partition.output import Encoded
from segops.streaming.publishers import ChangePublisher
from segops.testing import RecordingOutput


class OutboxRecording(RecordingOutput):
    """A recording output that takes changes and messages as the kernel has encoded them, and decodes them."""

    forward_outboxes = ()

    def send_from(self, native: Any) -> None:
        outbox = found()[0].Outbox(2_000, False)
        number = native.send([outbox])
        records = [*chain.from_iterable(map(_records_of, outbox.take(False)))]
        assert len(records) == number
        for key, value, headers in records:
            message = decode_message(value)
            kind = [("segops-type", name_of(message).encode())]
            assert (key, headers) == (message.to.encode(), kind)
            self.sent.append(message)

    def publish_from(self, native: Any) -> Encoded | None:
        outboxes = [found()[0].Outbox(2_000, False) for _ in range(2)]
        published = native.publish(*outboxes, b"segops/app", 1_000)
        if published is None:
            return None
        changes, rows = ([*chain.from_iterable(map(_records_of, outbox.take(False)))] for outbox in outboxes)
        decoded = [decode_change(value) for _, value, _ in changes]
        expected = _Appended()
        ChangePublisher(expected, TopicSettings(), app_id="app").publish(0, decoded, now_ms=1_000)  # type: ignore[arg-type]
        assert [*chain.from_iterable(zip(changes, rows, strict=True))] == expected.records
        self.changes += decoded
        counts, moves, _ = published
        return Encoded(counts, moves)


class _Appended:
    """Keeps what a publisher appends."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes, Any]] = []

    def append(self, _: object, *, key: bytes, value: bytes, headers: Any) -> None:
        self.records.append((key, value, headers))


def _records_of(batch: Any) -> list[tuple[Any, Any, Any]]:
    return [
        (each.key, each.value, [*each.headers]) for each in MemoryRecords(bytes(batch._build())).next_batch()
    ]
