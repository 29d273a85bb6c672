"""Watchers for a running worker: changed topics, lost group membership, missing progress.

Each watcher runs until cancelled, and raises the error that must end the process or the session.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiokafka.errors import KafkaError
from aiokafka.protocol.group import JoinGroupRequest

from segops.config import Settings
from segops.core.errors import SegopsError, UserError
from segops.kafka import topics
from segops.kafka.outages import OutOfTouch, is_outage
from segops.kafka.positions import LogPartition
from segops.kafka.reachability import Unreachable

log = logging.getLogger(__name__)

_TOPICS_S: Final = 15.0
_GROUP_S: Final = 1.0
_LOOKS: Final = 4


async def watch_topics(settings: Settings, joined: Callable[[], bool], every_s: float = _TOPICS_S) -> None:
    """Raise UserError when a topic is deleted or gets more partitions.

    Raise Unreachable when no broker answers a worker that has not ``joined`` its group: the client would
    otherwise retry forever without reporting it.
    """
    while True:
        await asyncio.sleep(every_s)
        try:
            problems = await topics.problems(settings)
        except Unreachable as error:
            if not joined():
                raise
            log.warning("cannot check the topics: %s", error)
            continue
        except (SegopsError, KafkaError, OSError, TimeoutError) as error:
            log.warning("cannot check the topics: %s", error)
            continue
        if problems:
            raise UserError("the topics were changed while this worker ran:\n  " + "\n  ".join(problems))


async def watch_group(coordinator: Callable[[], Any]) -> None:
    """Raise SegopsError when the coordinator's background task fails, which the client does not report.

    Raise OutOfTouch when rejoining may help, UserError when another member has the same static name.
    """
    while True:
        await asyncio.sleep(_GROUP_S)
        found = coordinator()
        try:
            if found is not None:
                found.check_errors()
        except Exception as error:
            cause = error.__cause__ or error.__context__
            if isinstance(cause, UserError):
                raise cause from error
            kind = OutOfTouch if is_outage(error) else SegopsError
            raise kind(f"this worker lost its group membership: {error}") from error


async def has_namesake(coordinator: Any, for_s: float) -> bool:
    """Return whether another live process uses this member's static name.

    The process that joins last becomes the member; the other one is rejected at its next heartbeat and joins
    again. A live namesake therefore shows within one heartbeat interval. If the group does not answer, reset
    the membership, so that this member joins again from the start.
    """
    for _ in range(_LOOKS):
        await asyncio.sleep(for_s / _LOOKS)
        answered = await coordinator._do_heartbeat()  # noqa: SLF001 - the client sends none in this state
        if coordinator.member_id == JoinGroupRequest.UNKNOWN_MEMBER_ID:
            return True
        if not answered:
            coordinator.reset_generation()
            return False
    return False


async def watch_lease(coordinator: Callable[[], Any], owning: Callable[[], bool], limit_s: float) -> None:
    """Raise OutOfTouch when no heartbeat sent in the last ``limit_s`` seconds was answered.

    Records that an isolated worker still has to send would arrive behind those of the next owner and
    overwrite them. They must be discarded before the group may assign the partitions to another worker.
    """
    last_answer, warned = time.monotonic(), False
    while True:
        await asyncio.sleep(min(_GROUP_S, limit_s / 10))
        found, sent = coordinator(), time.monotonic()
        if found is None or not owning() or await _answers(found, last_answer + limit_s - sent):
            last_answer, warned = sent, False
        elif time.monotonic() - last_answer < limit_s:
            if not warned:
                log.warning("the group does not answer, retrying for at most %.0f s", limit_s)
            warned = True
        else:
            raise OutOfTouch(
                f"the group has not answered for {limit_s:.0f} s: another worker may own the partitions"
            )


async def _answers(coordinator: Any, within_s: float) -> bool:
    try:
        async with asyncio.timeout(within_s):
            return bool(await coordinator._do_heartbeat())  # noqa: SLF001 - the client does not expose its heartbeats
    except (KafkaError, TimeoutError):
        return False


class Stall:
    """Detects a partition that has unread records but makes no progress for ``limit_s`` (0: no limit)."""

    def __init__(self, limit_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._limit_s = limit_s
        self._now = now
        self._moved: dict[LogPartition, tuple[int, float]] = {}

    def check(self, positions: Mapping[LogPartition, tuple[int, int | None]]) -> None:
        """Raise SegopsError for a stalled partition.

        ``positions`` holds the offset of each owned partition, and the end of its log if known.
        """
        now = self._now()
        self._moved = {partition: self._moved.get(partition, (-1, now)) for partition in positions}
        for partition, (offset, end) in positions.items():
            if offset != self._moved[partition][0] or not end or offset >= end:
                self._moved[partition] = (offset, now)
            elif self._limit_s and now - self._moved[partition][1] > self._limit_s:
                raise SegopsError(
                    f"{partition[0]}:{partition[1]} has {end - offset} unread records and made no progress "
                    f"for {self._limit_s:.0f} s"
                )


class Watchdog:
    """Ends the process, dumping all stacks, when ``pat`` is not called for ``limit_s`` (0: never).

    It is a native thread that needs neither the GIL nor the event loop, so nothing can block it.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s

    def pat(self) -> None:
        """Restart the countdown."""
        if self._limit_s:
            faulthandler.dump_traceback_later(self._limit_s, exit=True)

    def rest(self) -> None:
        """Cancel the countdown."""
        faulthandler.cancel_dump_traceback_later()
