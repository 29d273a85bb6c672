"""Pulls from a stand-in in virtual time, into a journal in memory."""

from __future__ import annotations

import asyncio
import copy
import json
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientSession
from prometheus_client import CollectorRegistry

from segops import config
from segops.klaviyo.client import KlaviyoClient
from segops.klaviyo.pull import Pull
from segops.klaviyo.records import Outgoing
from segops.klaviyo.state import PullState, decode_state, encode_state
from segops.metrics import Metrics
from tests.klaviyo.stand_in import KEY

#: The wall clock at the second 0 of the loop.
NOW_MS = 1_790_000_000_000


class Killed(Exception):
    """The process ends here."""


@dataclass
class MemoryJournal:
    """A journal that outlives its processes. ``kills``: number of a commit -> whether it is done before."""

    records: list[Outgoing] = field(default_factory=list)
    state: bytes | None = None
    kills: dict[int, bool] = field(default_factory=dict)
    commits: int = 0

    async def read(self) -> PullState | None:
        return None if self.state is None else decode_state(self.state)

    async def commit(self, records: Iterable[Outgoing], state: PullState) -> None:
        self.commits += 1
        written = list(records)
        await asyncio.sleep(0.01)
        dies = self.kills.pop(self.commits, None)
        if dies is not False:  # not killed, or killed after the commit
            self.records += written
            self.state = encode_state(copy.deepcopy(state))
        if dies is not None:
            raise Killed

    def events(self) -> dict[str, dict[str, Any]]:
        """Return the events by message id. Fails if copies of one differ."""
        found: dict[str, dict[str, Any]] = {}
        for record in self.records:
            if record.reason is None:
                event = json.loads(record.value)
                assert found.setdefault(event["messageId"], event) == event
        return found


def wall_ms() -> int:
    return NOW_MS + int(asyncio.get_running_loop().time() * 1_000)


async def pull(
    url: str,
    journal: MemoryJournal,
    *,
    stop: asyncio.Event | None = None,
    follow: bool = False,
    key: str = KEY,
    dice: random.Random | None = None,
    **settings: Any,
) -> Metrics:
    """Run one process from begin to end; return its metrics."""
    metrics = Metrics(CollectorRegistry())
    async with ClientSession() as session:
        client = KlaviyoClient(session, url, key=key, metrics=metrics, dice=(dice or random.Random(0)).random)
        one = Pull(
            client,
            journal,
            config.KlaviyoSettings(url=url, **settings),
            max_event_bytes=32_768,
            metrics=metrics,
            wall=wall_ms,
        )
        await one.begin(first=True)
        await one.run(stop or asyncio.Event(), follow=follow)
    return metrics
