"""The ``profiles`` table: Faust's name, changelog topic and co-partitioning, our state and recovery."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn, cast

import faust
from faust.tables.manager import TableManager
from faust.tables.recovery import RebalanceAgain, Recovery, ServiceStopped
from faust.types import TP
from mode import Service


class ProfilesTable(faust.Table):  # type: ignore[type-arg]
    """Stands for the profiles towards Faust. The states themselves are in the lanes.

    What Faust would do per key (serialize, write, send to the changelog) is done per checkpoint.
    """

    mundane_level = "debug"

    async def on_start(self) -> None:
        """The stores are opened by the recovery, per partition."""

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """The stores were closed on revocation."""

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """The lanes are open by now."""

    def persisted_offset(self, tp: TP) -> int | None:
        """Kept in the store's meta, where the recovery reads it."""
        return None

    def on_key_get(self, key: Any) -> NoReturn:
        """Refused: profiles are read through a lane."""
        raise TypeError("profiles are read and written by the lanes")

    on_key_set = on_key_del = on_key_get  # type: ignore[assignment]


class BatchRecovery(Recovery):
    """Recovery in batches, by a consumer of its own (``segops.streaming.durability.recovery``)."""

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
        """Wait; RebalanceAgain when the partitions go meanwhile, not only when the next ones come.

        Faust would finish, and let the lanes work on partitions that another worker may open by then.
        """
        signals: tuple[Any, ...] = (self.app.batch_consumer.revoked, self.signal_recovery_start)
        result = await self.wait_first(coro, *signals, timeout=timeout)
        if result.stopped:
            raise ServiceStopped
        if any(signal in result.done for signal in signals):
            raise RebalanceAgain

    @Service.task
    async def _slurp_changelogs(self) -> None:
        """Nothing of the changelog comes through the group's consumer."""

    @Service.task
    async def _publish_stats(self) -> None:
        """The recovery tells its progress by metrics."""


class BatchTableManager(TableManager):
    """Faust's table manager with our recovery."""

    mundane_level = "debug"

    async def on_start(self) -> None:
        """Start without the second that Faust waits for tables declared late."""
        await self._update_channels()
        await self.recovery.start()

    @property
    def recovery(self) -> Recovery:
        """The recovery service."""
        if self._recovery is None:
            self._recovery = BatchRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery
