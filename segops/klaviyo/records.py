"""From a page of Klaviyo to records of Kafka: events, and dead letters of what cannot be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec

from segops.klaviyo.mapping import event_of, profile_of
from segops.klaviyo.pages import Account, EventItem, Page, ProfileItem, Stream
from segops.schemas.quarantine import ORIGIN_HEADER, REASON_HEADER
from segops.schemas.records import Headers

#: The reason of dead letters, as header and as label.
UNREADABLE: Final = "klaviyo_schema"
TOO_LARGE: Final = "too_large"
#: The most bytes kept of a dead letter, below a broker's limit of 1 MiB.
_MAX_DEAD_BYTES: Final = 400_000

_events = msgspec.json.Decoder(EventItem)
_profiles = msgspec.json.Decoder(ProfileItem)


class Outgoing(NamedTuple):
    """A record to be written. ``reason`` is that of a dead letter; an event has none."""

    key: bytes
    value: bytes
    headers: Headers = ()
    reason: str | None = None


class _Refused(Exception):
    """An object that cannot become an event."""

    def __init__(self, detail: str, reason: str = UNREADABLE) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Batch:
    """The records of a page, and the latest time of its items; None if it has none."""

    records: Sequence[Outgoing]
    latest_ms: int | None


class Reader:
    """Makes records of the pages of one account. ``max_bytes``: of an event."""

    def __init__(self, account: Account, *, max_bytes: int) -> None:
        self._account = account
        self._max_bytes = max_bytes

    def read(self, stream: Stream, page: Page) -> Batch:
        """Return the records of a page. Objects that cannot be read become dead letters, with their bytes."""
        records, latest_ms = [], None
        for raw in page.items:
            try:
                item = self._decoded(stream, raw)
                key, value = self._mapped(item, page)
                if len(value) > self._max_bytes:
                    raise _Refused(f"{len(value)} bytes, {self._max_bytes} are allowed", TOO_LARGE)
            except _Refused as error:
                records.append(self._dead(stream, raw, error))
                continue
            records.append(Outgoing(key, value))
            if item.time_ms is not None:
                latest_ms = max(latest_ms or 0, item.time_ms)
        return Batch(records, latest_ms)

    def _decoded(self, stream: Stream, raw: bytes) -> EventItem | ProfileItem:
        decoder: Any = _events if stream == "events" else _profiles
        try:
            item: EventItem | ProfileItem = decoder.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise _Refused(str(error)) from None
        return item

    def _mapped(self, item: EventItem | ProfileItem, page: Page) -> tuple[bytes, bytes]:
        """Return key and value. All records of a profile have its key, and so stay in order."""
        if isinstance(item, ProfileItem):
            return item.id.encode(), profile_of(item)
        if item.time_ms is None:
            raise _Refused("expected a datetime or timestamp that can be read")
        profile, metric = item.relationships.profile.data, item.relationships.metric.data
        if profile is None or profile.id not in page.profiles:
            raise _Refused("expected an included profile")
        if metric is None or not page.metrics.get(metric.id):
            raise _Refused("expected an included metric with a name")
        value = event_of(
            item,
            metric=page.metrics[metric.id],
            identity=page.profiles[profile.id],
            profile_id=profile.id,
            account=self._account,
        )
        return profile.id.encode(), value

    def _dead(self, stream: Stream, raw: bytes, error: _Refused) -> Outgoing:
        headers = [
            (REASON_HEADER, error.reason.encode()),
            ("segops-detail", str(error)[:1_000].encode(errors="replace")),
            (ORIGIN_HEADER, f"klaviyo:{self._account.id}:{stream}".encode()),
        ]
        if len(raw) > _MAX_DEAD_BYTES:
            headers.append(("segops-cut", b"0:%d" % len(raw)))
        return Outgoing(b"", raw[:_MAX_DEAD_BYTES], headers, error.reason)
