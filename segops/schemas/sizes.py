"""The records of the topics ``segops.sizes`` and ``segops.trends``: what each partition says of its segments.

A size is keyed by segment, generation and partition, a trend also by its minute; one key holds the latest
record. ``generation`` is that of the state's origin: records of a lower one are of a state that a fresh start
has discarded. All records that a partition publishes at one checkpoint have the same ``clock_ms``, and every
size that changed is among them. The population is the last of them, and comes at least once a minute while
the clock moves: a size is true until the ``clock_ms`` of its partition's record under ``POPULATION``.

A minute without a change has no record. After a crash, minutes since the last checkpoint are published again.
That no record of a minute will follow is said by the record under ``ENDED``, which follows the minutes in the
same partition of ``segops.trends``.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

#: Stands for the key of a segment in the records of the population; no segment can have it.
POPULATION: Final = "$population"
#: The same in the records that say which minutes are published.
ENDED: Final = "$ended"
MINUTE_MS: Final = 60_000

SegmentState = Literal["live", "building", "paused", "retired"]


class Progress(msgspec.Struct, frozen=True):
    """How much of the history of a segment has been read, in records.

    ``rate``: records read per second since the worker began or resumed; 0 if that is not known yet.
    """

    read: int
    total: int
    rate: float = 0.0


class SizeRecord(msgspec.Struct, frozen=True):
    """The size of a segment in one partition at ``clock_ms``, and its changes by reason since it began.

    ``members`` is the sum of ``entered`` minus that of ``left``. Members from before entries were counted
    have entered with the reason ``unknown``. ``complete_since_ms``: the segment knows the history from then
    on; None: all of it. ``progress``: of a running backfill.
    """

    segment_key: str
    version: int
    partition: int
    partitions: int
    generation: int
    state: SegmentState
    members: int
    entered: dict[str, int]
    left: dict[str, int]
    clock_ms: int
    complete_since_ms: int | None = None
    progress: Progress | None = None


class TrendRecord(msgspec.Struct, frozen=True):
    """The changes of a segment in one partition by reason, during the minute that starts at ``minute_ms``.

    ``members``: at the end of that minute. ``clock_ms``: the clock at which the record was written.
    """

    segment_key: str
    minute_ms: int
    partition: int
    partitions: int
    generation: int
    members: int
    entered: dict[str, int]
    left: dict[str, int]
    clock_ms: int


class PopulationFigures(msgspec.Struct, frozen=True):
    """Numbers of profiles as of a UTC day (see ``core.population``); ``day_ms`` is its start.

    ``daily``, ``weekly`` and ``monthly``: active within 1, 7 and 30 days. ``daily`` is the sum of ``new``,
    ``returning`` and ``resurrected``; ``known`` is the sum of ``monthly`` and ``dormant``.
    """

    day_ms: int
    known: int
    daily: int
    weekly: int
    monthly: int
    new: int
    returning: int
    resurrected: int
    dormant: int


#: The numbers of ``PopulationFigures``.
ACTIVITIES: Final = PopulationFigures.__struct_fields__[1:]


class PopulationRecord(msgspec.Struct, frozen=True):
    """The population of one partition at ``clock_ms``, under the key ``POPULATION``.

    ``minute_ms``: in ``segops.trends``, the start of the minute of which this is the end; else None.
    """

    partition: int
    partitions: int
    generation: int
    clock_ms: int
    figures: PopulationFigures
    minute_ms: int | None = None


class EndedRecord(msgspec.Struct, frozen=True):
    """Under ``ENDED`` in ``segops.trends``: a partition has published all minutes before ``until_ms``."""

    partition: int
    partitions: int
    generation: int
    until_ms: int
    clock_ms: int


class RecordKey(msgspec.Struct, frozen=True):
    """The key of a record of either topic. ``minute_ms``: None in ``segops.sizes``, and for ``ENDED``.

    >>> str(RecordKey("vip", 0, 3)), str(RecordKey("vip", 0, 3, minute_ms=60_000))
    ('vip|0|3', 'vip|60000|0|3')
    """

    segment_key: str
    generation: int
    partition: int
    minute_ms: int | None = None

    def __str__(self) -> str:
        minute = () if self.minute_ms is None else (self.minute_ms,)
        return "|".join(map(str, (self.segment_key, *minute, self.generation, self.partition)))


Published = SizeRecord | TrendRecord | PopulationRecord | EndedRecord

_encoder = msgspec.json.Encoder()
_size = msgspec.json.Decoder(SizeRecord)
_trend = msgspec.json.Decoder(TrendRecord)
_population = msgspec.json.Decoder(PopulationRecord)
_ended = msgspec.json.Decoder(EndedRecord)
#: Type of a record without a segment -> what stands for the key of one.
_NAMES: Final[dict[type, str]] = {PopulationRecord: POPULATION, EndedRecord: ENDED}


def key_of(record: Published) -> bytes:
    """Return the key under which a record is published."""
    segment_key = _NAMES.get(type(record)) or record.segment_key  # type: ignore[union-attr]
    return str(RecordKey(segment_key, record.generation, record.partition, minute_of(record))).encode()


def minute_of(record: Published) -> int | None:
    """Return the start of the minute that a record is about; None for one of no minute."""
    return None if isinstance(record, SizeRecord | EndedRecord) else record.minute_ms


def is_trend(record: Published) -> bool:
    """Return whether a record belongs to ``segops.trends``."""
    return minute_of(record) is not None or isinstance(record, EndedRecord)


def encode_published(record: Published) -> bytes:
    """Encode the value of a record."""
    return _encoder.encode(record)


def parse_key(key: bytes) -> RecordKey:
    """Return what a key says. Raises ValueError for anything that is no key of these topics.

    >>> parse_key(b"vip|60000|0|3")
    RecordKey(segment_key='vip', generation=0, partition=3, minute_ms=60000)
    """
    segment_key, *numbers = key.decode().split("|")
    if not segment_key or len(numbers) not in (2, 3):
        raise ValueError(
            f"expected segment|generation|partition, or with the minute after segment, got {key!r}"
        )
    *minute, generation, partition = map(int, numbers)
    return RecordKey(segment_key, generation, partition, minute[0] if minute else None)


def decode_published(key: RecordKey, value: bytes) -> Published:
    """Decode the value of a record. Raises msgspec.MsgspecError for an invalid one."""
    if key.segment_key == POPULATION:
        return _population.decode(value)
    if key.segment_key == ENDED:
        return _ended.decode(value)
    return (_size if key.minute_ms is None else _trend).decode(value)
