"""A dead letter: the bytes of a record that could not be applied, with the reason and its position."""

from __future__ import annotations

from typing import Final

from segops.schemas.quarantine import ORIGIN_HEADER, REASON_HEADER
from segops.schemas.records import FROM_HEADER, Headers, Record

#: The most bytes kept of a key, and of a value: together far below a broker's limit of 1 MiB.
_MAX_BYTES: Final = 400_000
_MAX_DETAIL: Final = 1_000

DeadLetter = tuple[bytes | None, bytes | None, Headers]


def dead_letter(record: Record, origin: str, reason: str, detail: str) -> DeadLetter:
    """Return key, value and headers of a record's dead letter. ``origin``: its ``topic:partition:offset``.

    A record that would be too large for the broker with its headers is truncated.
    """
    headers = [
        (REASON_HEADER, reason.encode()),
        ("segops-detail", detail[:_MAX_DETAIL].encode(errors="replace")),
        (ORIGIN_HEADER, origin.encode()),
        *[each for each in record.headers if each[0] == FROM_HEADER],
    ]
    key, value = _beginning(record.key), _beginning(record.value)
    if (key, value) != (record.key, record.value):
        headers.append(("segops-cut", b"%d:%d" % (len(record.key or b""), len(record.value or b""))))
    return key, value, headers


def _beginning(data: bytes | None) -> bytes | None:
    return data[:_MAX_BYTES] if data is not None else None
