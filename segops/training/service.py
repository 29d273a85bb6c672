"""``segops train`` as a process: it follows the profile events, makes models, and measures those in force."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping

from segops.config import Settings
from segops.core.errors import StoreInUseError, UserError
from segops.core.scoring.models import Model
from segops.core.training.report import TrainingReport
from segops.kafka.clients import running_consumer
from segops.kafka.sessions import Sessions
from segops.kafka.topics import partition_counts
from segops.metrics import Metrics
from segops.stores.lock import lock_folder
from segops.training.following import Follower
from segops.training.making import Making, foretelling, write_model
from segops.training.metrics import TrainingMetrics
from segops.wall_clock import wall_ms

log = logging.getLogger(__name__)

#: Returns the models in force, by name.
InForce = Callable[[], Awaitable[Mapping[str, Model]]]
#: Publishes the model of a report that is ready. Raises UserError if it is refused.
Publish = Callable[[TrainingReport], Awaitable[None]]


class TrainingService:
    """The process of these settings. ``passed`` is called at each failpoint.

    With ``force`` a model that is ready is published even if the one in force foretells better.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        making: Making,
        *,
        passed: Callable[[str], None],
        in_force: InForce,
        publish: Publish | None = None,
        force: bool = False,
    ) -> None:
        self._settings = settings
        self._metrics = TrainingMetrics(metrics.registry)
        self._making = making
        self._passed = passed
        self._in_force = in_force
        self._publish = publish
        self._force = force
        #: Model -> the version in force whose predictions are measured.
        self._versions: dict[str, int] = {}
        self._sessions = Sessions()
        self._running = False

    @property
    def waits_for(self) -> str | None:
        """The reason why nothing is read at present, or None."""
        return self._sessions.waits_for or (None if self._running else "reading the snapshot")

    async def run(self, stop: asyncio.Event) -> None:
        """Train until ``stop``. After an outage of Kafka go on from the last snapshot.

        Raises all else, and UserError if another process uses the folder.
        """
        folder = self._settings.train.folder
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = lock_folder(folder)
        except StoreInUseError as error:
            raise UserError(str(error)) from None
        try:
            await self._sessions.run(lambda: self._session(stop), stop, lambda: None)
        finally:
            os.close(lock)

    async def _session(self, stop: asyncio.Event) -> None:
        self._running = False
        settings, topic = self._settings, self._settings.topics.profile_events
        count = (await partition_counts(settings.kafka, [topic]))[topic]
        group = f"{settings.worker.app_id}-training"
        async with running_consumer(settings.kafka, group_id=group) as consumer:
            follower = Follower(settings, self._making, self._metrics, consumer, passed=self._passed)
            await follower.begin(count)
            await self._use_models(follower)
            self._sessions.connected()
            self._running = True
            await follower.follow(stop, lambda: self._make(follower))

    async def _make(self, follower: Follower) -> None:
        """Make the models, write and publish them, and go over to those that are in force then."""
        in_force = {} if self._force else await self._in_force()
        reports = await asyncio.to_thread(
            self._making.reports, follower.observer, now_ms=wall_ms(), in_force=in_force
        )
        for report in reports:
            self._metrics.models.labels(report.name, report.verdict).inc()
            write_model(self._settings.train.folder, report)
            log.info("%s: %s", report.name, "; ".join([report.verdict, *report.reasons]))
            if report.in_force is not None:
                log.info("%s: version %d: %s", report.name, report.in_force.version, report.in_force.reason)
            if self._publish is not None and report.is_ready and not report.is_outdone:
                await self._publish(report)
        await self._use_models(follower)

    async def _use_models(self, follower: Follower) -> None:
        found = await self._in_force()
        for of in follower.observer.decisions:
            name = of.task.name
            model = found.get(name)
            version = 0 if model is None else model.version
            if self._versions.get(name) != version:
                self._versions[name] = version
                follower.observer.live_ece.pop(name, None)
            of.foretell = None if model is None else foretelling(model, follower.observer.inputs)
