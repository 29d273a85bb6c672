"""The control processor: requests and dead letters, without Kafka."""

from __future__ import annotations

import pytest

from segops.core.messages import Forget, Split
from segops.core.profile import Erasing
from segops.schemas.messages import decode_message, encode_message
from segops.schemas.records import partition_of
from segops.schemas.ticks import TYPE_HEADER

from .fakes import ERASE, VIEW, RecordingProducer, control_processor, event, letters


def test_request_goes_to_the_partition_of_its_profile() -> None:
    sink = RecordingProducer()
    processor = control_processor(sink, offset=1)
    split = encode_message(Split("user_id:u", "user_id:u", 3))
    processor.process([event(n, ERASE, [(TYPE_HEADER, b"erase")]) for n in (0, 1)])
    processor.process([event(4, split, [("other", b"x"), (TYPE_HEADER, b"split")])])
    assert [key for _, key, _ in sink.appended] == [b"email:a@x", b"user_id:u"]
    for (topic, number), key, value in sink.appended:
        assert (topic, number) == ("profile-events", partition_of(key or b"", 2))
        assert decode_message(value).to.encode() == key
    assert (processor.offset, processor.counts.rejected.total()) == (5, 0)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (ERASE, b"split"),
        (ERASE, b"tick"),
        (ERASE, b"claim"),
        (ERASE, b"\xff"),
        (ERASE, None),
        (b'{"watermark_ms": 5, "end": true}', b"tick"),
        (VIEW % (1, 1), None),
        (None, b"erase"),
        (b"\x01nonsense", b"split"),
        (encode_message(Forget("user_id:u", "user_id:u", Erasing("r"))), b"split"),
    ],
)
def test_invalid_control_records_become_dead_letters(value: bytes | None, kind: bytes | None) -> None:
    sink = RecordingProducer()
    processor = control_processor(sink)
    processor.process([event(0, value or b"", [] if kind is None else [(TYPE_HEADER, kind)])])
    assert letters(sink) == [value or b""] and len(sink.appended) == 1
    assert (processor.offset, processor.counts.rejected) == (1, {"no_request": 1})
