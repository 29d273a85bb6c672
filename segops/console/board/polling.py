"""Asks workers and the delivery for their metrics, at the addresses that the workers' group tells."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout
from aiokafka.errors import KafkaError

from segops.config import Settings
from segops.console.board.exposition import Scraped, scraped, total
from segops.core.errors import SegopsError
from segops.delivery.gates import CLOSED
from segops.operations import group
from segops.wall_clock import wall_ms

log = logging.getLogger(__name__)

#: What is read of a worker, and of the delivery.
WORKER: Final = (
    "segops_events_consumed_total",
    "segops_membership_changes_total",
    "segops_end_to_end_seconds_bucket",
    "segops_timer_lateness_seconds_bucket",
    "segops_consumer_lag_records",
    "segops_partitions_recovering",
    "segops_partition_clock_seconds",
    "segops_broker_connected",
    "segops_backfill_records_left",
    "segops_profiles_waiting",
)
DELIVERY: Final = (
    "segops_delivery_closed",
    "segops_delivery_waiting",
    "segops_delivery_oldest_seconds",
    "segops_delivery_messages_total",
)
_PAUSE_S: Final = 2.0
#: A poll takes at most this share of the time of a worker, unless it takes very long.
_MOST_SHARE: Final = 0.05
_LONGEST_PAUSE_S: Final = 10.0
_TIMEOUT_S: Final = 5.0
_LOOK_S: Final = 15.0
_MAX_BYTES: Final = 16 << 20
_closed = msgspec.json.Decoder(dict[str, str]).decode


class Polled(NamedTuple):
    """What a process said of itself at ``at_ms``; without ``found`` it did not answer, for a ``reason``.

    ``closed``: of a delivery, the destinations that take nothing -> why.
    """

    url: str
    at_ms: int
    found: Scraped | None = None
    reason: str = ""
    closed: Mapping[str, str] = MappingProxyType({})


#: Takes what was heard of all workers, and of the delivery, of which each may be missing.
Heard = Callable[[Sequence[Polled], Polled], None]


class Poller:
    """Polls until cancelled; what it heard goes to ``heard``."""

    def __init__(self, settings: Settings, heard: Heard) -> None:
        self._settings = settings
        self._heard = heard
        self._urls: Sequence[str] = ()
        self._looked_s = float("-inf")

    async def run(self) -> None:
        """Poll, with pauses."""
        loop = asyncio.get_running_loop()
        timeout = ClientTimeout(total=_TIMEOUT_S)
        async with ClientSession(timeout=timeout, trust_env=False) as session:
            while True:
                began = loop.time()
                await self._look(began)
                urls = self._urls or [_address(self._settings, self._settings.worker.web_port)]
                delivery = _address(self._settings, self._settings.activate.web_port)
                *workers, delivered = await asyncio.gather(
                    *(_poll(session, url, WORKER) for url in urls), _poll_delivery(session, delivery)
                )
                self._heard(workers, delivered)
                spent = loop.time() - began
                await asyncio.sleep(min(_LONGEST_PAUSE_S, max(_PAUSE_S, spent / _MOST_SHARE)))

    async def _look(self, now_s: float) -> None:
        """Ask now and then which workers there are; without an answer, those of before are asked."""
        if now_s < self._looked_s + _LOOK_S:
            return
        self._looked_s = now_s
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                members = (await group.describe(self._settings)).members
        except (SegopsError, KafkaError, OSError, TimeoutError) as error:
            log.debug("cannot ask for the workers: %s", error)
            return
        found = sorted({each.url for each in members if is_address(each.url)})
        self._urls = found or self._urls


def is_address(url: str) -> bool:
    """Return whether a worker's address is one that may be asked: of HTTP, without a path."""
    try:
        parts = urlsplit(url)
        return parts.scheme == "http" and bool(parts.hostname) and bool(parts.port) and not parts.path
    except ValueError:
        return False


def _address(settings: Settings, port: int) -> str:
    host = settings.worker.advertised_host or settings.worker.web_host
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


async def _poll(session: ClientSession, url: str, names: Iterable[str]) -> Polled:
    try:
        async with session.get(f"{url}/metrics", allow_redirects=False) as response:
            if response.status != 200:
                return Polled(url, wall_ms(), None, f"answered {response.status}")
            page = await response.content.read(_MAX_BYTES)
    except (ClientError, OSError, TimeoutError) as error:
        return Polled(url, wall_ms(), None, _reason(error))
    found = await asyncio.to_thread(scraped, page, names) if len(page) > 100_000 else scraped(page, names)
    return Polled(url, wall_ms(), found)


async def _poll_delivery(session: ClientSession, url: str) -> Polled:
    polled = await _poll(session, url, DELIVERY)
    if not total(polled.found or {}, "segops_delivery_closed"):
        return polled
    try:
        async with session.get(f"{url}{CLOSED}", allow_redirects=False) as response:
            closed = _closed(await response.content.read(_MAX_BYTES))
    except (ClientError, OSError, TimeoutError, msgspec.MsgspecError) as error:
        log.debug("cannot ask why destinations take nothing: %s", error)
        return polled
    return polled._replace(closed=closed)


def _reason(error: Exception) -> str:
    return "does not answer in time" if isinstance(error, TimeoutError) else "does not answer"


def by_url(polled: Iterable[Polled]) -> Mapping[str, Polled]:
    """Return those that answered, by address."""
    return {each.url: each for each in polled if each.found is not None}
