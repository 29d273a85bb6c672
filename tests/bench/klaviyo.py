"""A pull of 100,000 profiles and 2,000,000 events: the time that limits take, and the CPU time of a record.

The pages of the whole pull are requested from the stand-in in virtual time, with a hundredth of their items.
The CPU time is measured of full pages, decoded and made into records; writing to Kafka is not in it.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from datetime import datetime
from functools import cached_property
from typing import Any

from segops.klaviyo.pages import Account, Stream, read_page
from segops.klaviyo.records import Reader
from tests.klaviyo.contract import check_filter
from tests.klaviyo.objects import add_event, add_profile
from tests.klaviyo.runs import NOW_MS, MemoryJournal, pull
from tests.klaviyo.stand_in import StandIn
from tests.klaviyo.virtual_time import run

DAY_MS = 86_400_000
#: Of a hundredth of the account: pages of 1 profile and of 10 events make as many requests as the whole.
PROFILES, EVENTS = 1_000, 20_000
LATENCIES_S = (0.3, 1.0)


def measure() -> dict[str, float]:
    """Return seconds of virtual time per latency of a page, and CPU microseconds per record."""
    found = {
        f"klaviyo: 2.1 million records, {latency} s a page, seconds": _whole(latency)
        for latency in LATENCIES_S
    }
    for stream, unit in (("profiles", "profile"), ("events", "event")):
        found[f"klaviyo: CPU of an {unit}, µs" if unit == "event" else f"klaviyo: CPU of a {unit}, µs"] = (
            _cpu(stream)
        )
    return found


def _account(profiles: int, events: int) -> _Large:
    dice, account = random.Random(1), _Large(validate=False)
    for number in range(profiles):
        add_profile(account, f"P{number}", NOW_MS - dice.randrange(400 * DAY_MS))
    for number in range(events):
        at_ms = NOW_MS - dice.randrange(400 * DAY_MS)
        metric = dice.choice(("Placed Order", "Opened Email", "Viewed Product"))
        items = [
            {"ProductID": f"p{n}", "ProductName": "Hat", "Quantity": 1, "ItemPrice": 9.5} for n in range(3)
        ]
        profile, event_id = f"P{dice.randrange(profiles)}", f"E{number}"
        add_event(account, event_id, metric, profile, at_ms, __event_id=event_id, __value=28.5, Items=items)
    return account


class _Large(StandIn):
    """A stand-in that sorts its objects once."""

    def _selected(self, path: str, text: str | None, by: str) -> Iterator[dict[str, Any]]:
        times, items = self._in_order[path]
        begin, end = 0, len(items)
        for operator, _, bound in check_filter(path, text):
            at = bisect_left(times, bound) if operator != "greater-than" else bisect_right(times, bound)
            begin, end = (begin, at) if operator == "less-than" else (at, end)
        return iter(items[begin:end])

    @cached_property
    def _in_order(self) -> dict[str, tuple[list[datetime], list[dict[str, Any]]]]:
        return {
            "/api/events": _sorted(self.events, "datetime"),
            "/api/profiles": _sorted(self.profiles, "updated"),
        }


def _sorted(items: list[dict[str, Any]], by: str) -> tuple[list[datetime], list[dict[str, Any]]]:
    found = sorted(items, key=lambda item: item["attributes"][by])
    return [datetime.fromisoformat(item["attributes"][by]) for item in found], found


def _whole(latency_s: float) -> float:
    account = _account(PROFILES, EVENTS)
    account.latency_s, account.sizes = latency_s, {"/api/profiles": 1, "/api/events": 10}

    async def main() -> float:
        async with account.serving() as url:
            journal = MemoryJournal()
            await pull(url, journal)
            assert len(journal.events()) == PROFILES + EVENTS and account.refused == []
            return asyncio.get_running_loop().time()

    return run(main())


def _cpu(stream: Stream) -> float:
    """Return the least CPU time of several rounds: other processes only ever add to it."""
    account = _account(100, 1_000)
    items = account.profiles if stream == "profiles" else account.events
    metrics = [
        {"type": "metric", "id": name, "attributes": {"name": text}} for name, text in account.metrics.items()
    ]
    body = json.dumps({"data": items, "links": {}, "included": [*account.profiles, *metrics]}).encode()
    reader, taken = Reader(Account("A1", "EUR"), max_bytes=32_768), []
    for _ in range(20):
        began = time.process_time()
        batch = reader.read(stream, read_page(body))
        taken.append((time.process_time() - began) / len(items))
        assert len(batch.records) == len(items)
    return min(taken) * 1e6
