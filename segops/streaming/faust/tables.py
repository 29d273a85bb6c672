"""The ``profiles`` table: Faust's changelog topic and co-partitioning, with our stores and recovery."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn, cast

import faust
from faust.tables.manager import TableManager
from faust.tables.recovery import RebalanceAgain, Recovery, ServiceStopped
from faust.types import TP
from mode import Service


class ProfilesTable(faust.Table):  # type: ignore[type-arg]
    """Represents the profiles to Faust. The states themselves are in the processors' stores.

    Checkpoints do the work that Faust would do per key: serialize, write, send to the changelog.
    """

    mundane_level = "debug"

    async def on_start(self) -> None:
        """Do nothing: the recovery opens the store of each partition."""

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Do nothing: the revocation closed the stores."""

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Do nothing: the processors are already open."""

    def persisted_offset(self, tp: TP) -> int | None:
        """Return None: the offset is in the store's metadata, which the recovery reads."""
        return None

    def on_key_get(self, key: Any) -> NoReturn:
        """Raise TypeError: only processors access profiles."""
        raise TypeError("only processors read and write profiles")

    on_key_set = on_key_del = on_key_get  # type: ignore[assignment]


class BatchRecovery(Recovery):
    """Recovery in batches, with its own consumer (``segops.streaming.durability.recovery``)."""

    mundane_level = "debug"
    app: Any

    @Service.task
    async def _restart_recovery(self) -> None:
        signal = cast("Any", self.signal_recovery_start)
        while not self.should_stop:
            if await self.wait_for_stopped(signal):
                return
            signal.clear()
            await self._recover(self._generation_id)

    async def _recover(self, generation_id: int) -> None:
        self._set_recovery_started()
        try:
            await self._wait(asyncio.ensure_future(self.app.open_partitions()))
            await self._wait(self.on_recovery_completed(generation_id))
        except (RebalanceAgain, ServiceStopped):
            return  # the next assignment starts over
        except Exception as error:
            await self.app.fail(error)

    async def _wait(self, coro: Any, timeout: Any = None) -> None:
        """Wait; raise RebalanceAgain already at a revocation, not only at the next assignment.

        Faust would finish the recovery, and process partitions that another worker may open meanwhile.
        """
        signals: tuple[Any, ...] = (self.app.batch_consumer.revoked, self.signal_recovery_start)
        result = await self.wait_first(coro, *signals, timeout=timeout)
        if result.stopped:
            raise ServiceStopped
        if any(signal in result.done for signal in signals):
            raise RebalanceAgain

    @Service.task
    async def _slurp_changelogs(self) -> None:
        """Do nothing: the group's consumer does not read the changelog."""

    @Service.task
    async def _publish_stats(self) -> None:
        """Do nothing: metrics report the progress of the recovery."""


class BatchTableManager(TableManager):
    """Faust's table manager with our recovery."""

    mundane_level = "debug"

    async def on_start(self) -> None:
        """Start without Faust's one-second wait for tables that are declared late."""
        await self._update_channels()
        await self.recovery.start()

    @property
    def recovery(self) -> Recovery:
        """The recovery service."""
        if self._recovery is None:
            self._recovery = BatchRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery
