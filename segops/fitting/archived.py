"""Orders from the archive of profile events, as rules with ``rfm`` understand them.

The archived events are replayed, so that a customer with several identifiers is one, and an order counts
once. Its value is net of refunds and updates; a cancelled one is none. Erased records are not there, and
splits are not repeated.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from segops.archive.reading import logs_in
from segops.archive.tables import ArchivedRecord
from segops.config import Settings
from segops.core.errors import RejectedEvent, UserError
from segops.core.events import Event
from segops.core.features.orders import Purchases, net_revenues, valid_orders
from segops.core.features.states import Orders
from segops.core.rules.model import RfmNode
from segops.core.scoring.rfm import Rfm
from segops.core.segments import Definition, SegmentSet
from segops.fitting.histories import Order
from segops.replay import Replay
from segops.schemas.events import decode
from segops.schemas.identifying import limits_of
from segops.schemas.records import origin_of
from segops.schemas.ticks import TYPE_HEADER

#: Longer than any history: no order leaves the period.
_PERIOD_MS: Final = 400 * 365 * 86_400_000


def read_archive(
    folder: Path, settings: Settings, *, now_ms: int, currency: str | None = None
) -> list[Order]:
    """Return the orders of all customers in an archive; ``currency``: only the amounts in it count.

    Raises UserError if the folder has no archive of this application's profile events, or no order, and
    ArchiveError if a file is damaged.
    """
    topic = settings.topics.profile_events
    records = heapq.merge(*logs_in(folder, topic), key=lambda record: record.timestamp)
    rfm = Rfm(Purchases(_PERIOD_MS, currency), (), (), (), ())
    segments = SegmentSet([Definition("orders", "Orders", RfmNode(rfm, (), ()))])
    replay = Replay(segments, wall_ms=now_ms, limits=limits_of(settings))
    for record in records:
        if (event := _event(record, replay, settings)) is not None:
            for _ in replay.apply((record.key or b"").decode(errors="replace"), event):
                pass
    found = list(_orders(replay, rfm.feature.id))
    if not found:
        raise UserError(f"{folder}: the archive of {topic} has no order (event Order Completed)")
    return found


def _event(record: ArchivedRecord, replay: Replay, settings: Settings) -> Event | None:
    """Return the event of a record; None for a message, and for what workers cannot read either."""
    if TYPE_HEADER in dict(record.headers):
        return None
    try:
        source, time_ms = origin_of(record.headers)
        return decode(
            record.value or b"",
            time_ms=time_ms,
            default_id=source.decode(),
            limits=limits_of(settings),
            context_keys=replay.engine.segments.context_keys,
        )
    except (RejectedEvent, ValueError):
        return None


def _orders(replay: Replay, feature: int) -> Iterator[Order]:
    for profile_id, profile in sorted(replay.profiles.items()):
        state = profile.features.get(feature)
        if profile.merged_into is None and isinstance(state, Orders):
            orders = valid_orders(state, state.orders)
            for order, net in zip(orders, net_revenues(state, orders), strict=True):
                yield Order(profile_id, order.time_ms, float(net))
