"""Changes delivered to Klaviyo: from a change to its acceptance, and a first fill, at the documented limits.

Time is virtual: what passes are the limits, a fifth of a second for each answer, and import jobs; the CPU
time of both sides is not in it. How long Klaviyo works on a job is not documented: the stand-in takes as long
as a row says.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry

from segops.destinations.http import HttpClient
from segops.destinations.klaviyo.adapter import Klaviyo
from segops.destinations.klaviyo.api import KlaviyoApi
from segops.destinations.port import Message, Person
from segops.metrics import Metrics
from tests.destinations.klaviyo_server import KEY, KlaviyoLists
from tests.klaviyo import virtual_time

FILL, PARTITIONS, SECONDS, LATENCY_S = 1_000_000, 8, 130, 0.2
#: Changes come in ticks, as virtual time takes a while to pass.
_TICK_S = 0.1
_CHANGES = itertools.count()
LIST, METRIC = {"list": "L1"}, {"metric": "Entered win-back"}


def measure() -> dict[str, float]:
    """Return seconds of virtual time, the requests that were over a limit, and CPU microseconds."""
    found: dict[str, float] = {}
    for name, rate, options, job_s in (
        ("entries at 5 a second", 5, LIST, 1.0),
        ("500 changes a second, jobs of 0.5 s", 500, LIST, 0.5),
        ("500 changes a second, jobs of 1 s", 500, LIST, 1.0),
        ("500 changes a second, jobs of 10 s", 500, LIST, 10.0),
        ("500 events a second", 500, METRIC, 1.0),
    ):
        late, over = virtual_time.run(_changes(rate, options, job_s))
        found[f"klaviyo: p50 of {name}, s"] = late[len(late) // 2]
        found[f"klaviyo: p99 of {name}, s"] = late[len(late) * 99 // 100]
        found[f"klaviyo: requests over a limit, {name}"] = over
    began = time.process_time()
    seconds, over = virtual_time.run(_fill())
    found["klaviyo: a fill of 1,000,000 members, seconds"] = seconds
    found["klaviyo: requests over a limit, a fill"] = over
    found["klaviyo: CPU of a member filled, both sides, µs"] = (time.process_time() - began) / FILL * 1e6
    return found


def _account(job_s: float) -> KlaviyoLists:
    account = KlaviyoLists("L1")
    account.latency_s, account.job_s, account.looks, account.validates = LATENCY_S, job_s, None, False
    return account


def _message(number: int, action: Any) -> Message:
    person = Person(f"user_id:u{number}", f"u{number}")
    address = f"u{number}@shop.example"
    return Message(
        action, "winback", address, person, f"{action}{number}-{next(_CHANGES)}", number, "event", 5, 5
    )


def _adapter(url: str) -> Klaviyo:
    client = HttpClient("k", Metrics(CollectorRegistry()), timeout_s=30)
    return Klaviyo(KlaviyoApi(client, url, KEY), url)


class _Partition:
    """Tells of its changes, one wave after the other, as the delivery does."""

    def __init__(self, adapter: Klaviyo, options: Mapping[str, str]) -> None:
        self._adapter = adapter
        self._options = options
        self._changed: dict[str, tuple[Message, float]] = {}
        self._awake = asyncio.Event()
        self._is_sending = False
        self.late: list[float] = []

    def take(self, message: Message) -> None:
        self._changed[message.address] = message, asyncio.get_running_loop().time()
        self._awake.set()

    @property
    def is_idle(self) -> bool:
        return not (self._is_sending or self._changed)

    async def run(self) -> None:
        now = asyncio.get_running_loop().time
        while True:
            await self._awake.wait()
            self._awake.clear()
            wave, self._changed = self._changed, {}
            self._is_sending = True
            await self._adapter.send([each for each, _ in wave.values()], self._options)
            self._is_sending = False
            self.late += [now() - at for _, at in wave.values()]


async def _changes(rate: int, options: Mapping[str, str], job_s: float) -> tuple[list[float], int]:
    """Return how late each change was accepted, in order, and the requests over a limit.

    A change that another of the same person replaces before it is sent is not counted. From a quarter of the
    time on, every second change is an exit.
    """
    account, now = _account(job_s), asyncio.get_running_loop().time
    async with account.serving() as url:
        adapter = _adapter(url)
        partitions = [_Partition(adapter, options) for _ in range(PARTITIONS)]
        tasks = [asyncio.create_task(each.run()) for each in partitions]
        count, members = rate * SECONDS, list[int]()
        for number in range(count):
            leaves = rate > PARTITIONS and number > count / 4 and number % 2
            member = members[number // 2] if leaves else number
            members.append(member)
            partitions[member % PARTITIONS].take(_message(member, "exited" if leaves else "entered"))
            if (number + 1) / rate > now() + _TICK_S:
                await asyncio.sleep(_TICK_S)
        while not all(each.is_idle for each in partitions):
            await asyncio.sleep(_TICK_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await adapter.close()
    return sorted(late for each in partitions for late in each.late), len(account.refused)


async def _fill() -> tuple[float, int]:
    """Return how long the fill of a list by all partitions takes, and the requests over a limit."""
    account = _account(10.0)
    most = Klaviyo.batch.messages
    async with account.serving() as url:
        adapter = _adapter(url)

        async def fill(numbers: Sequence[int]) -> None:
            for begin in range(0, len(numbers), most):
                batch = [_message(number, "entered") for number in numbers[begin : begin + most]]
                await adapter.send(batch, LIST)

        await asyncio.gather(*(fill(range(of, FILL, PARTITIONS)) for of in range(PARTITIONS)))
        await adapter.close()
        assert len(account.lists["L1"]) == FILL
        return asyncio.get_running_loop().time(), len(account.refused)
