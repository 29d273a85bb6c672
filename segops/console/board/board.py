"""The read model: follows the topics, polls the workers, and has what pages show in memory."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiokafka import TopicPartition

from segops.analytics.alert_log import AlertLog
from segops.analytics.sizes import SegmentSizes
from segops.catalogue.views import EventView
from segops.config import Settings
from segops.console.board.answers import AnswerCache
from segops.console.board.backfills import Backfills
from segops.console.board.changes import RecentChange, RecentChanges
from segops.console.board.deliveries import Deliveries
from segops.console.board.following import Follower, Topic
from segops.console.board.polling import Poller
from segops.console.board.published import CatalogueFold, Definitions, Edition, Plans, one_by_one
from segops.console.board.reasons import ReasonMinutes
from segops.console.board.rows import Row, Rows, Subscription
from segops.console.board.vitals import Vitals, VitalsWatch, WorkerHealth
from segops.console.live import Hub
from segops.core.audiences.model import AudienceRecord
from segops.core.delivery.model import Delivery
from segops.core.segments import Definition
from segops.delivery.views import Tally
from segops.destinations.model import Destination
from segops.destinations.published import DESTINATION
from segops.kafka.definitions import DefinitionLog, left_out
from segops.kafka.following import LostRecords
from segops.kafka.partition_tasks import cancel_all
from segops.kafka.resources import ResourceLog
from segops.kafka.sessions import Sessions
from segops.operations.audiences.store import AUDIENCE
from segops.schemas.published_models import ModelLog
from segops.schemas.published_plans import PublishedPlan
from segops.wall_clock import wall_ms

log = logging.getLogger(__name__)

_TICK_S: Final = 1.0
#: The newest changes that are read of each partition, and dead letters: of these only the last counts, which
#: may stand before marks of transactions.
_NEWEST: Final = 500
_LAST: Final = 20
#: The pause before all is read again.
_AGAIN_S: Final = 1.0
_NO_TALLIES: Final[Mapping[Delivery, Tally]] = {}


class Board:
    """What pages show, as of ``as_of_ms``. Everything is there to be read at any time, and nothing waits.

    After an outage of Kafka it keeps what it has: ``as_of_ms`` says as of when that is true, and ``reason``
    why it is not newer. ``is_complete``: also what is read last, the past of segments and the deliveries.

    Memory: that of ``SegmentSizes``, a definition as it is compiled from its record, and 200 bytes per
    address of a delivery.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sessions = Sessions()
        self._vitals = VitalsWatch()
        self._rows = Rows(lambda: self.sizes)
        self.hub = Hub()
        self._is_read = asyncio.Event()
        #: Answers of scans, which visit all profiles.
        self.scanned = AnswerCache()
        self._fresh(1, ())
        self._follower = Follower(settings, self._topics(), self._begin)

    def _fresh(self, partitions: int, truncated: Sequence[int]) -> None:
        self._is_read.clear()
        self.reasons = ReasonMinutes()
        self.backfills = Backfills()
        self.sizes = SegmentSizes(partitions, truncated, noted=self._note_minute)
        self._rows.clear()
        self._definitions = Definitions()
        self._plans = Plans()
        self._audiences = ResourceLog(AUDIENCE, log.warning)
        self._destinations = ResourceLog(DESTINATION, log.warning)
        self._catalogue = CatalogueFold(self._settings.catalogue.profiles)
        self._changes = RecentChanges()
        self._deliveries = Deliveries()
        self.alerts = AlertLog()
        self._letters: dict[int, tuple[int, int]] = {}
        self._tallies: Mapping[Delivery, Tally] = _NO_TALLIES
        #: Those that are published, by key, indicators and audiences included.
        self.definitions: Mapping[str, Definition] = {}
        #: Those that are left out, since a reference is broken: key -> why.
        self.left_out: Mapping[str, str] = {}

    def _note_minute(self, record: Any) -> None:
        if record is None:
            self.reasons, self.backfills = ReasonMinutes(), Backfills()
        else:
            self.reasons.note(record)
            self.backfills.note(record)

    def _topics(self) -> list[Topic]:
        """Return what is followed. Folds are looked up at each record: after a loss there are new ones."""
        names = self._settings.topics
        audiences = one_by_one(lambda found: self._audiences.apply_all(found))
        destinations = one_by_one(lambda found: self._destinations.apply_all(found))
        return [
            Topic(names.segments, lambda n, each: self._definitions.take(n, each)),
            Topic(names.models, lambda n, each: self._definitions.take_model(n, each), optional=True),
            Topic(names.sizes, self._take_size),
            Topic(names.plans, lambda n, each: self._plans.take(n, each)),
            Topic(names.audiences, audiences),
            Topic(names.destinations, destinations),
            Topic(names.alerts, lambda _, each: self.alerts.apply(each.key, each.value)),
            Topic(names.catalogue, lambda n, each: self._catalogue.take(n, each)),
            Topic(names.membership_changes, lambda n, each: self._changes.take(n, each), _NEWEST),
            Topic(names.dead_letters, self._take_letter, _LAST),
            Topic(names.trends, self._take_size, later=True),
            Topic(names.targets, lambda n, each: self._deliveries.take_target(n, each), later=True),
            Topic(names.told, lambda n, each: self._deliveries.take_told(n, each), later=True),
        ]

    def _begin(self, counts: Mapping[str, int], begins: Mapping[TopicPartition, int]) -> None:
        names = self._settings.topics
        truncated = [part.partition for part, begin in begins.items() if part.topic == names.trends and begin]
        self._fresh(counts[names.sizes], truncated)
        letters = {part: begin for part, begin in begins.items() if part.topic == names.dead_letters}
        self._letters = {part.partition: (begin, begin) for part, begin in letters.items()}

    def _take_size(self, _partition: int, record: Any) -> None:
        self._rows.note(self.sizes.apply(record.key, record.value))

    def _take_letter(self, partition: int, record: Any) -> None:
        begin, _ = self._letters[partition]
        self._letters[partition] = begin, record.offset + 1

    # -- what pages read -----------------------------------------------------------------------------------

    @property
    def as_of_ms(self) -> int | None:
        """As of when all is true that is not read last (ms UTC); None before the first time."""
        return self._follower.as_of_ms

    @property
    def reason(self) -> str | None:
        """Why what is shown is not current, or None."""
        return self._sessions.waits_for or (None if self._is_read.is_set() else "the topics are not read yet")

    @property
    def is_complete(self) -> bool:
        """Whether the past of the segments and the deliveries are read."""
        return self._follower.is_complete

    @property
    def rows(self) -> Mapping[str, Row]:
        """The segments in a row each, by key."""
        return self._rows.found

    @property
    def log(self) -> DefinitionLog:
        """The definitions, retired ones, and the latest plan, as operations read them."""
        return self._definitions.log

    @property
    def models(self) -> ModelLog:
        """The library of scoring models."""
        return self._definitions.log.models or ModelLog()

    @property
    def plans(self) -> Mapping[str, PublishedPlan]:
        """The plans by id, as they were published."""
        return self._plans.found

    @property
    def audiences(self) -> Mapping[str, AudienceRecord]:
        """The published audiences by key."""
        return self._audiences.found

    @property
    def destinations(self) -> Mapping[str, Destination]:
        """The published destinations by name."""
        return self._destinations.found

    @property
    def deliveries(self) -> Mapping[Delivery, Tally]:
        """Each delivery in numbers."""
        return self._tallies

    @property
    def gates(self) -> Mapping[str, Mapping[str, Any]]:
        """Destination -> its state as the delivery says it; empty while that does not answer."""
        return self._vitals.gates

    @property
    def catalogue(self) -> list[EventView]:
        """The events of the catalogue, the most frequent first."""
        return self._catalogue.views[0]

    @property
    def traits(self) -> EventView | None:
        """The traits of the catalogue."""
        return self._catalogue.views[1]

    @property
    def workers(self) -> Sequence[WorkerHealth]:
        """The workers, as of the last poll."""
        return self._vitals.workers

    @property
    def vitals(self) -> Vitals:
        """How the workers fare together."""
        return self._vitals.now

    @property
    def vitals_watch(self) -> VitalsWatch:
        """The same with its past hour."""
        return self._vitals

    @property
    def dead_letters(self) -> int:
        """The dead letters that Kafka retained when the console began to read, and all since."""
        return sum(end - begin for begin, end in self._letters.values())

    def recent_changes(self, segment_key: str) -> Sequence[RecentChange]:
        """Return the latest changes of a segment, the newest first."""
        return self._changes.of(segment_key)

    def editions(self, segment_key: str) -> Sequence[Edition]:
        """Return the known records of a definition, the latest first."""
        return self._definitions.editions(segment_key)

    async def read(self) -> None:
        """Return once ``definitions`` are all that are published: not yet after a start, nor after a loss."""
        await self._is_read.wait()

    def subscribe(self, keys: frozenset[str] | None = None) -> Subscription:
        """Return a subscription that hears which rows change."""
        return self._rows.subscribe(keys)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Tell it no more."""
        self._rows.unsubscribe(subscription)

    # -- its life ------------------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Follow, poll and tell until ``stop``. Raises Unreachable if Kafka's address cannot be right."""
        gc.disable()  # what is read at the start stays, and to look through it takes 200 ms each time
        tasks = [
            asyncio.ensure_future(each)
            for each in (
                stop.wait(),
                self._sessions.run(self._session, stop, lambda: None),
                Poller(self._settings, self._vitals.hear).run(),
                self._ticking(),
            )
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
        finally:
            await cancel_all(tasks)
            gc.enable()

    async def _session(self) -> None:
        try:
            await self._follower.follow(self._sessions.connected)
        except LostRecords as error:
            log.warning("all topics are read again: %s", error)
            self._follower.forget()
            await asyncio.sleep(_AGAIN_S)

    async def _ticking(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            await self.tick()
            if self.is_complete and not gc.isenabled():
                gc.freeze()
                gc.enable()
            due = max(due + _TICK_S, loop.time())
            await asyncio.sleep(due - loop.time())

    async def tick(self) -> None:
        """Take over what was read, and tell the browsers of it."""
        is_current = self.as_of_ms is not None
        changed = self._definitions.changed()
        if changed is not None:
            self.definitions = changed
            self.left_out = await asyncio.to_thread(left_out, changed)
        if is_current:
            self._is_read.set()
        self._tallies = self._deliveries.tallies()
        await self._rows.tick()
        await self.hub.tick()

    def age_ms(self) -> int | None:
        """Return how long ago all was true, in ms."""
        return None if self.as_of_ms is None else max(0, wall_ms() - self.as_of_ms)
