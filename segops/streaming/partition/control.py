"""The control topic: an operator's requests, forwarded to the partition of their profile, or to all.

It is a topic of its own, so that the right to write events does not include the right to erase profiles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from segops.core.messages import Erase, Handover, Listing, Release, Split
from segops.core.profile import Erasing
from segops.schemas.erasures import ERASE, decode_request
from segops.schemas.messages import (
    HANDOVER,
    LISTING,
    RELEASE,
    SPLIT,
    decode_handover,
    decode_listing,
    decode_release,
    decode_split,
    encode_message,
)
from segops.schemas.origin import Mark
from segops.schemas.records import Record
from segops.schemas.scans import SCAN
from segops.schemas.scans import decode_request as decode_scan
from segops.schemas.ticks import TYPE_HEADER
from segops.streaming.partition.marks import LastRecord
from segops.streaming.partition.output import Output, ResolveCounts

NO_REQUEST: Final = "no_request"
ON_EVENTS: Final = "request_on_events"
#: Reasons of dead letters, in addition to those of events.
REFUSALS: Final = (NO_REQUEST, ON_EVENTS)


def _erase_of(value: bytes | None) -> Erase:
    request = decode_request(value)
    return Erase(request.profile, Erasing(request.request, tuple(request.segments)))


#: The type of a request -> its decoder, which raises ValueError.
REQUESTS: Final[Mapping[bytes, Callable[[bytes | None], Erase | Split | Release | Handover | Listing]]] = {
    ERASE: _erase_of,
    SPLIT: decode_split,
    RELEASE: decode_release,
    HANDOVER: decode_handover,
    LISTING: decode_listing,
}

#: The type of a request to every partition -> its decoder, which raises ValueError.
BROADCASTS: Final[Mapping[bytes, Callable[[bytes | None], object]]] = {SCAN: decode_scan}


class ControlProcessor:
    """One owned partition of the control topic."""

    def __init__(self, output: Output, *, offset: int = 0, mark: Mark | None = None) -> None:
        self.offset = offset
        self.counts = ResolveCounts()
        self._output = output
        self._last = LastRecord(mark)

    @property
    def mark(self) -> Mark | None:
        """The mark of the last record read."""
        return self._last.mark

    def process(self, records: Sequence[Record]) -> None:
        """Forward requests in log order; invalid requests go to the dead-letter topic."""
        for record in records:
            if record.offset < self.offset:
                continue
            self._request(record)
            self._last.read(record)
            self.offset = record.offset + 1
        self.counts.records += len(records)

    def _request(self, record: Record) -> None:
        kind = dict(record.headers).get(TYPE_HEADER, b"")
        try:
            if kind in BROADCASTS:
                BROADCASTS[kind](record.value)
                self._output.broadcast(record.value or b"", headers=[(TYPE_HEADER, kind)])
            else:
                self._forward(record, kind)
        except ValueError as error:
            self.counts.rejected[NO_REQUEST] += 1
            self._output.dead_letter(record, NO_REQUEST, str(error))

    def _forward(self, record: Record, kind: bytes) -> None:
        if kind not in REQUESTS:
            known = b", ".join([*REQUESTS, *BROADCASTS]).decode()
            raise ValueError(f"expected {TYPE_HEADER} one of {known}, got {kind.decode(errors='replace')!r}")
        message = REQUESTS[kind](record.value)
        self._output.forward(
            message.to.encode(),
            encode_message(message),
            headers=[(TYPE_HEADER, kind)],
            timestamp=record.timestamp,
        )
