"""Static lists: upload a version and put it in force, show and remove lists.

An upload writes one listing per identifier to the control topic. Once the workers have stored all of them,
the record of the list names the version, and all rules read it instead of the former one. An upload that ends
early leaves that in force; what it has written is never read.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

import msgspec
from aiokafka.errors import KafkaError

from segops.config import Settings
from segops.core.errors import SegopsError, UserError
from segops.core.messages import Listing
from segops.core.segments import Definition
from segops.core.static_lists import lists_of
from segops.core.values import format_instant
from segops.kafka.clients import running_producer
from segops.kafka.definitions import DefinitionLog, read, require_topic
from segops.kafka.progress import until_applied
from segops.kafka.publication import Outpaced, publisher
from segops.kafka.reachability import in_words
from segops.kafka.topics import partition_counts
from segops.kafka.uploading import Uploader
from segops.schemas.messages import LISTING, encode_message
from segops.schemas.static_lists import PublishedList, encode_list, record_key
from segops.schemas.ticks import TYPE_HEADER
from segops.wall_clock import wall_ms

#: The most lists at a time: a profile may be on all of them.
MAX_LISTS: Final = 200
_HEADERS: Final = [(TYPE_HEADER, LISTING)]
_PRODUCER: Final = {"linger_ms": 5, "max_batch_size": 256 * 1024, "compression_type": "lz4"}
#: How often to try to publish while others publish, too.
_ATTEMPTS: Final = 5
#: The longest pause before the next attempt.
_PAUSE_S: Final = 1.0
#: Listings between two turns of the event loop.
_SLICE: Final = 500


class Expiry(NamedTuple):
    """When a list expires: at an instant, or some time after it has come into force; None and None: never."""

    at_ms: int | None = None
    after_ms: int | None = None

    def instant(self, now_ms: int) -> int | None:
        """Return the instant for a list that comes into force now."""
        return self.at_ms if self.after_ms is None else now_ms + self.after_ms


class Progress(NamedTuple):
    """How far an upload is: identifiers written, and how many of the records that workers must read are left.

    ``left`` is None while identifiers are written.
    """

    written: int
    left: int | None = None


async def put(
    settings: Settings,
    key: str,
    identifiers: Iterable[str],
    *,
    expiry: Expiry,
    report: Callable[[Progress], None],
    passed: Callable[[str], None],
) -> PublishedList:
    """Upload identifiers as the next version of a list, put it in force, and return it.

    ``passed`` is called at each failpoint. Raises UserError, leaving the former version in force, if another
    upload of the list comes into force meanwhile, if it is removed, or if there are too many lists; and what
    ``identifiers`` raises.
    """
    begun = await _begin(settings, key)
    ends, count = await _upload(settings, begun, identifiers, report=report, passed=passed)
    passed("lists_after_upload")
    await until_applied(settings, ends, lambda left: report(Progress(count, left)))
    return await _put_in_force(settings, begun, count, expiry)


async def _begin(settings: Settings, key: str) -> PublishedList:
    """Take the next version number of a list."""

    def decide(log: DefinitionLog) -> PublishedList:
        known = log.lists.get(key, PublishedList(key, 0))
        if not known.version and sum(bool(each.version) for each in log.lists.values()) >= MAX_LISTS:
            raise UserError(f"there are {MAX_LISTS} lists already: remove one (segops lists remove KEY)")
        return msgspec.structs.replace(known, begun=known.begun + 1)

    return await _commit(settings, decide)


async def _upload(
    settings: Settings,
    begun: PublishedList,
    identifiers: Iterable[str],
    *,
    report: Callable[[Progress], None],
    passed: Callable[[str], None],
) -> tuple[dict[int, int], int]:
    """Write the listings; return the end of each partition of the control topic, and their number."""
    topic, count = settings.topics.control, 0
    (partitions,) = (await partition_counts(settings.kafka, [topic])).values()
    try:
        async with running_producer(settings.kafka, **_PRODUCER) as producer:
            uploader = Uploader(producer, topic, partitions)
            for identifier in identifiers:
                listing = Listing(identifier, begun.key, begun.begun, begun.version)
                await uploader.add(identifier.encode(), encode_message(listing), _HEADERS)
                count += 1
                if count % _SLICE == 0:
                    report(Progress(count))
                    await asyncio.sleep(0)
                    passed("lists_during_upload")
            return await uploader.end(), count
    except KafkaError as error:
        kept = "the former version stays in force" if begun.version else "no version is in force"
        raise SegopsError(f"the upload failed: {in_words(error)}; {kept}: run the command again") from error


async def _put_in_force(
    settings: Settings, begun: PublishedList, count: int, expiry: Expiry
) -> PublishedList:
    def decide(log: DefinitionLog) -> PublishedList:
        known, now_ms = log.lists.get(begun.key, begun), wall_ms()
        if (known.version, known.since_ms) != (begun.version, begun.since_ms):
            raise UserError(_overtaken(known))
        return PublishedList(begun.key, known.begun, begun.begun, count, now_ms, expiry.instant(now_ms))

    return await _commit(settings, decide)


def _overtaken(known: PublishedList) -> str:
    if not known.version:
        return f"the list {known.key} was removed during the upload; nothing of it is in force: run it again"
    since = format_instant(known.since_ms)
    return (
        f"another upload of the list {known.key} came into force during this one, as version {known.version} "
        f"at {since}; nothing of this one is in force: run it again if it is the newer one"
    )


async def _commit(settings: Settings, decide: Callable[[DefinitionLog], PublishedList]) -> PublishedList:
    """Publish what ``decide`` derives from the published lists, and return it.

    If a publisher of something else is faster, try again: an upload took long. Raises UserError if that
    happens too often.
    """
    await require_topic(settings)
    for left in reversed(range(_ATTEMPTS)):
        try:
            async with publisher(settings.kafka, settings.topics.segments) as publish_all:
                found = decide(await read(settings))
                await publish_all([(record_key(found.key), encode_list(found))])
            return found
        except Outpaced:
            if not left:
                raise
            # Two that try in step would outpace each other each time.
            await asyncio.sleep(random.uniform(0, _PAUSE_S))  # noqa: S311
    raise AssertionError("the last attempt returns or raises")


async def remove(settings: Settings, key: str) -> PublishedList:
    """Remove a list, so that it names no one, and return what it was.

    Raises UserError if it is unknown, or if a published segment reads it.
    """
    removed: list[PublishedList] = []

    def decide(log: DefinitionLog) -> PublishedList:
        known = log.lists.get(key)
        if known is None or not known.version:
            raise UserError(_unknown(key, log))
        if users := readers(log).get(key):
            raise UserError(f"cannot remove the list {key}: it is read by {', '.join(users)}")
        removed.append(known)
        return PublishedList(key, known.begun, since_ms=wall_ms())

    await _commit(settings, decide)
    return removed[-1]


def _unknown(key: str, log: DefinitionLog) -> str:
    known = sorted(each.key for each in log.lists.values() if each.version)
    return f"unknown list {key!r}; the lists are {', '.join(known) or 'none'}"


def readers(log: DefinitionLog) -> dict[str, list[str]]:
    """Map the lists that published segments read to the keys of these segments."""
    found: dict[str, list[str]] = {}
    for segment, definition in sorted(log.live.items()):
        for key in lists_of(definition.when):
            found.setdefault(key, []).append(segment)
    return found


def not_uploaded(log: DefinitionLog, definitions: Iterable[Definition]) -> Iterator[str]:
    """Yield a warning for each list that definitions read and of which no version is in force."""
    for definition in definitions:
        for key in sorted(lists_of(definition.when)):
            if key not in log.lists or not log.lists[key].version:
                yield f"{definition.key}: the list {key} is not uploaded, so that it names no one"


class ListView(msgspec.Struct, frozen=True):
    """A list as it is shown. ``state``: in force, expired, or missing: read, but not uploaded.

    ``begun``: the number of the latest upload; beyond ``version``, it is not complete. ``used_by``: the
    segments that read the list.
    """

    key: str
    state: str
    version: int
    ids: int
    since_ms: int | None
    expires_ms: int | None
    begun: int
    used_by: tuple[str, ...]


async def shown(settings: Settings, key: str | None = None) -> list[ListView]:
    """Return all lists by key, or one. Raises UserError for an unknown one."""
    log, now_ms = await read(settings), wall_ms()
    used = readers(log)
    keys = {each.key for each in log.lists.values() if each.version or each.begun == 1} | used.keys()
    if key is not None and key not in keys:
        raise UserError(_unknown(key, log))
    wanted = sorted(keys) if key is None else [key]
    return [_view(log.lists.get(each, PublishedList(each, 0)), used.get(each, ()), now_ms) for each in wanted]


def _view(published: PublishedList, used_by: Iterable[str], now_ms: int) -> ListView:
    expires_ms = published.expires_ms
    expired = expires_ms is not None and now_ms >= expires_ms
    state = ("expired" if expired else "in force") if published.version else "missing"
    return ListView(
        published.key,
        state,
        published.version,
        published.ids,
        published.since_ms if published.version else None,
        expires_ms,
        published.begun,
        tuple(used_by),
    )
