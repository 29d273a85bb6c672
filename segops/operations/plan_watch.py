"""Repeat a recorded plan, and follow a sample of the profiles from one repeat to the next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from functools import partial
from typing import Final
from uuid import uuid4

from aiokafka.errors import KafkaError

from segops.config import Settings
from segops.core.errors import SegopsError
from segops.core.scans import followed_share
from segops.kafka.definitions import read
from segops.operations.plans import Detail, Effect, Wait, changes_of, effect_of
from segops.operations.scans import end_watch
from segops.schemas.planned import PlannedEdit
from segops.schemas.scans import Watch

#: How long the partitions are asked to forget the sample: they forget it by themselves for later watches.
_END_S: Final = 5.0


async def repeats(
    settings: Settings, planned: PlannedEdit, first: Effect, *, wait_s: float, interval_s: float, samples: int
) -> AsyncGenerator[Effect, None]:
    """Yield the effect of a recorded plan again and again, at first at once, each with its flapping.

    ``first``: the effect when it was planned. A repeat begins ``interval_s`` seconds after the former one
    ended, and takes at most ``wait_s``. It records nothing, and history that was collected for the plan is
    used, not read again. Runs until closed. Raises UserError once the plan has ended, and as ``effect_of``.
    """
    watch = Watch(uuid4().hex, followed_share(first.scanned.profiles))
    decide = partial(changes_of, plan_id=planned.id)
    try:
        while True:
            try:
                found = await effect_of(settings, decide, Wait(wait_s), Detail(samples, watch))
            except SegopsError:
                changes_of(await read(settings), planned.id)  # why, if the plan has ended meanwhile
                raise
            yield found
            await asyncio.sleep(interval_s)
    finally:
        with suppress(SegopsError, KafkaError, TimeoutError):
            async with asyncio.timeout(_END_S):
                await end_watch(settings, watch.id)
