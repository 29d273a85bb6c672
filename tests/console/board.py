"""A read model in the process of a test, filled with the records that segops itself writes."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from types import SimpleNamespace
from typing import Any

import msgspec

from segops import config
from segops.console.board.board import Board
from segops.core.audiences.model import AudienceRecord
from segops.core.events import Change, change_id
from segops.core.rules.parsing import Context
from segops.core.segments import Definition
from segops.operations.definitions import retirement
from segops.schemas.alerts import AlertRecord, encode_alert
from segops.schemas.audiences import encode_record, read_audience
from segops.schemas.changes import encode_change
from segops.schemas.segments import definition_to_record, inline
from segops.schemas.sizes import (
    PopulationFigures,
    PopulationRecord,
    Published,
    SizeRecord,
    TrendRecord,
    encode_published,
    is_trend,
    key_of,
)

from .helpers import NOW_MS

MINUTE_MS = 60_000
CLOCK_MS = NOW_MS - 1_000


class FilledBoard(Board):
    """A board that is told records by a test, in place of Kafka."""

    def __init__(self, **given: Any) -> None:
        super().__init__(config.load(**given))
        self._fresh(1, ())
        self.told_ms: int | None = NOW_MS - 500
        self.away: str | None = None
        self._topics_by_name = {each.name: each for each in self._topics()}
        self._offsets = count()

    @property
    def as_of_ms(self) -> int | None:
        return self.told_ms

    @property
    def reason(self) -> str | None:
        return self.away

    @property
    def is_complete(self) -> bool:
        return True

    def take(self, topic: str, key: bytes | None, value: bytes | None, at_ms: int = NOW_MS) -> None:
        """Take a record, as it comes from Kafka."""
        name = getattr(self._settings.topics, topic)
        record = SimpleNamespace(
            key=key, value=value, offset=next(self._offsets), timestamp=at_ms, headers=()
        )
        self._topics_by_name[name].take(0, record)

    def published(self, record: Published) -> None:
        """Take a size, a minute or the population."""
        topic = "trends" if is_trend(record) else "sizes"
        self.take(topic, key_of(record), encode_published(record))

    def define(self, written: Mapping[str, Any], *, at_ms: int = NOW_MS, **changed: Any) -> Definition:
        """Publish a segment."""
        (found,) = inline([dict(written)], "shop.yaml", "segments")
        found = msgspec.structs.replace(found, **changed)
        self.take("segments", found.key.encode(), definition_to_record(found), at_ms)
        return found

    def retire(self, definition: Definition) -> None:
        """Retire a segment."""
        self.take("segments", definition.key.encode(), retirement(definition).record)

    def size(self, key: str, members: int, *, version: int = 1, state: Any = "live", **changed: Any) -> None:
        """Report the size of a segment."""
        left = {"time": 10}
        record = SizeRecord(
            key, version, 0, 1, 0, state, members, {"event": members + 10}, left, CLOCK_MS, **changed
        )
        self.published(record)

    def minute(self, key: str, ago: int, members: int, entered: dict[str, int], left: dict[str, int]) -> None:
        """Report a minute of a segment, so many minutes ago."""
        at_ms = NOW_MS // MINUTE_MS * MINUTE_MS - ago * MINUTE_MS
        self.published(TrendRecord(key, at_ms, 0, 1, 0, members, entered, left, CLOCK_MS))

    def population(self, known: int) -> None:
        """Report how many profiles there are."""
        figures = PopulationFigures(NOW_MS // 86_400_000 * 86_400_000, known, 4, 9, 20, 1, 2, 1, 7)
        self.published(PopulationRecord(0, 1, 0, CLOCK_MS, figures))

    def change(self, key: str, profile_id: str, number: int, *, member: bool, reason: str = "event") -> None:
        """Publish a membership change."""
        action, at_ms = "entered" if member else "exited", NOW_MS - 10_000 + number
        start = (profile_id, key, 1, action, member, reason, at_ms, at_ms, number)
        rest = (change_id(profile_id, key, number), "m1", None, "u1", None, "ann@shop.example", "{}")
        self.take("membership_changes", profile_id.encode(), encode_change(Change(*start, *rest), at_ms))

    def audience(self, key: str, segment: str, state: Any = "active", **written: Any) -> None:
        """Publish an audience."""
        form = {
            "key": key,
            "segment": segment,
            "channel": "email",
            "deliver": [{"to": "crm-hook"}],
            **written,
        }
        record = AudienceRecord(read_audience(form, "audience", Context("shop.yaml")), state, NOW_MS - 60_000)
        self.take("audiences", key.encode(), encode_record(record))

    def alert(self, key: str, text: str) -> None:
        """Let an alert fire."""
        record = AlertRecord("a1", key, text, "firing", NOW_MS - 120_000, NOW_MS - 60_000, 120)
        self.take("alerts", f"{key}|{text}".encode(), encode_alert(record))


RULE: Mapping[str, Any] = {
    "all": [
        {
            "did": "Product Viewed",
            "where": {"category": {"eq": "shoes"}},
            "within": "7d",
            "count": {"gte": 3},
        },
        {"not": {"did": "Order Completed", "within": "7d"}},
    ]
}


def full() -> FilledBoard:
    """Return a read model with something of each kind; call its ``tick`` before it is read."""
    board = FilledBoard()
    day_ms = 86_400_000
    board.define(
        {"key": "high-intent", "name": "High intent", "when": RULE["all"][0]}, at_ms=NOW_MS - 9 * day_ms
    )
    board.define(
        {
            "key": "high-intent",
            "name": "High intent",
            "description": "Looks at shoes",
            "when": RULE,
            "alert": [{"members": {"at_least": 100}}],
        },
        at_ms=NOW_MS - day_ms // 2,
        version=2,
    )
    board.define({"key": "vip", "name": "VIP", "when": {"did": "Order Completed", "count": {"gte": 5}}})
    board.define(
        {"key": "calm", "when": {"all": [{"in_segment": "vip"}, {"not": {"in_segment": "high-intent"}}]}}
    )
    board.define(
        {"key": "asleep", "name": "Asleep", "when": {"did_not": "Order Completed", "within": "60d"}},
        paused=True,
    )
    old = board.define({"key": "old", "when": {"did": "Sign Up"}})
    board.retire(old)
    keys = [*enumerate(("high-intent", "vip", "calm", "asleep"))]
    for ago in range(23, 1, -1):  # as workers write them, in the order of time
        for number, key in keys:
            if ago <= 20 + number:
                board.minute(
                    key, ago * 60, 1_000 - ago, {"event": 3, "time": 1}, {"time": 1, "event": number}
                )
    for number, key in keys:
        board.minute(key, 2, 1_000 + number, {"event": 7}, {"merge": 1})
        board.size(key, 1_000 + number, version=2 if key == "high-intent" else 1)
    board.population(41_250)
    board.audience("winback", "high-intent")
    board.alert("high-intent", "members at_least 100")
    for number in range(1, 6):
        board.change("high-intent", f"user_id:u{number}", number, member=number % 2 == 1)
    return board
