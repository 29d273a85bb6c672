"""Looking out for what an operator can break while a worker runs, and for a worker that is stuck.

Each guard runs for ever and raises what the process must stop with.
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
    """UserError when a topic was deleted, or its partitions became more.

    Unreachable when no broker answers a worker that has not ``joined`` its group: the client would try for
    ever to join, without a word.
    """
    while True:
        await asyncio.sleep(every_s)
        try:
            problems = await topics.problems(settings)
        except Unreachable as error:
            if not joined():
                raise
            log.warning("the topics cannot be looked at now: %s", error)
            continue
        except (SegopsError, KafkaError, OSError, TimeoutError) as error:
            log.warning("the topics cannot be looked at now: %s", error)
            continue
        if problems:
            raise UserError("the topics were changed while this worker ran:\n  " + "\n  ".join(problems))


async def watch_group(coordinator: Callable[[], Any]) -> None:
    """SegopsError when the member's part in the group has ended: nobody would notice otherwise.

    OutOfTouch when joining again can mend it, UserError when another member has the same fixed name.
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
            raise kind(f"the group has ended this member: {error}") from error


async def await_namesake(coordinator: Any, for_s: float) -> bool:
    """Whether another process is the member with this one's fixed name, and alive.

    Whoever joins last is that member; the other notices by its next heartbeat and joins again. So a
    namesake shows within the time between two heartbeats. Where the group does not answer, it is asked to
    take this member in once more, so that all begins again.
    """
    for _ in range(_LOOKS):
        await asyncio.sleep(for_s / _LOOKS)
        answered = await coordinator._do_heartbeat()  # noqa: SLF001 - it has none of its own in this state
        if coordinator.member_id == JoinGroupRequest.UNKNOWN_MEMBER_ID:
            return True
        if not answered:
            coordinator.reset_generation()
            return False
    return False


async def watch_lease(coordinator: Callable[[], Any], owning: Callable[[], bool], limit_s: float) -> None:
    """OutOfTouch when the group has not answered for ``limit_s``, counted from when it was asked.

    What a worker that is cut off still has to send would arrive behind what the next owner wrote, and
    undo it: all of that has to be gone before the group may give its partitions away.
    """
    heard, told = time.monotonic(), False
    while True:
        await asyncio.sleep(min(_GROUP_S, limit_s / 10))
        found, asked = coordinator(), time.monotonic()
        if found is None or not owning() or await _answers(found, heard + limit_s - asked):
            heard, told = asked, False
        elif time.monotonic() - heard < limit_s:
            if not told:
                log.warning("the group does not answer, and is asked for %.0f s at most", limit_s)
            told = True
        else:
            raise OutOfTouch(
                f"the group has not answered for {limit_s:.0f} s: the partitions may be another's by now"
            )


async def _answers(coordinator: Any, within_s: float) -> bool:
    try:
        async with asyncio.timeout(within_s):
            return bool(await coordinator._do_heartbeat())  # noqa: SLF001 - its own beats are not told
    except (KafkaError, TimeoutError):
        return False


class Stall:
    """Notices that there is work but none is done, by the positions of the owned partitions.

    ``check`` is told where each partition is and how far behind; SegopsError after ``limit_s`` without a
    move of one that is behind. 0: never.
    """

    def __init__(self, limit_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._limit_s = limit_s
        self._now = now
        self._moved: dict[LogPartition, tuple[int, float]] = {}

    def check(self, places: Mapping[LogPartition, tuple[int, int | None]]) -> None:
        """``places``: offset, and end of the log where it is known."""
        now = self._now()
        self._moved = {place: self._moved.get(place, (-1, now)) for place in places}
        for place, (offset, end) in places.items():
            if offset != self._moved[place][0] or not end or offset >= end:
                self._moved[place] = (offset, now)
            elif self._limit_s and now - self._moved[place][1] > self._limit_s:
                raise SegopsError(
                    f"{place[0]}:{place[1]} has {end - offset} records waiting and has not moved for "
                    f"{self._limit_s:.0f} s"
                )


class Watchdog:
    """Ends the process, with the stacks of all threads, when it is not patted for ``limit_s``. 0: never.

    It is a thread that needs neither Python's lock nor the loop, so that nothing can hold it up.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s

    def pat(self) -> None:
        """All is well: count anew."""
        if self._limit_s:
            faulthandler.dump_traceback_later(self._limit_s, exit=True)

    def rest(self) -> None:
        """Stop counting."""
        faulthandler.cancel_dump_traceback_later()
