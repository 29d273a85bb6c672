"""The durable state of a partition's backfill, and what partitions announce of it.

``BackfillRecord`` is in the changelog and the store; ``Coverage`` only in the store, as the rows are. A
``Announcement`` is a record of profile-events without a key, in every partition.
"""

from __future__ import annotations

from typing import Final

import msgspec

from segops.core.errors import StateError
from segops.schemas.ticks import TYPE_HEADER

#: The key of the record in the changelog.
BACKFILL_KEY: Final = b"\x00backfill"
BACKFILL_TYPE: Final = b"backfill"
BACKFILL_HEADERS: Final = [(TYPE_HEADER, BACKFILL_TYPE)]

#: Values of ``Announcement.round`` beside the number of a round: the sender has given the definitions up; it
#: evaluates by them; it does so and needed no history.
DROPPED: Final = 0
SWITCHED: Final = -1
WHOLE: Final = -2

_FORMAT: Final = b"1"


class Announcement(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a partition announces of its backfill for the definitions ``of``.

    It follows all that the partition sent before. ``moved``: rows, since it announced the round before.
    ``draft``: it does not know that the definitions are published.
    """

    of: str
    partition: int
    round: int
    moved: bool = False
    draft: bool = False


class NextSet(msgspec.Struct):
    """The definitions that a partition collects history for.

    ``packed`` are the definitions; ``features`` the ids of the features to fill, ``fresh`` the keys of
    segments that were not evaluated before. History begins at ``from_ms``. ``round``: the last round that it
    announced, 0 while it reads. ``moved``: it has relayed rows since. ``switched``: the definitions are in
    force, and profiles are folded. ``draft``: id of the plan that they are of, "" once they are published;
    ``draft_rounds``: the last round announced before that. ``walk``: the rows of all redirects are to be
    moved before this round is announced.
    """

    version: str
    packed: bytes
    features: list[int]
    fresh: list[str]
    from_ms: int
    round: int = 0
    moved: bool = False
    switched: bool = False
    draft: str = ""
    draft_rounds: int = 0
    walk: int = 1


#: Version of definitions -> partition -> round -> whether it moved rows.
AnnouncedRounds = dict[str, dict[int, dict[int, bool]]]


class BackfillRecord(msgspec.Struct):
    """The backfill of a partition (None: there is none), and what all partitions announced.

    ``since``: id of each feature in force that a backfill filled -> from when on its events are complete.
    ``drafted``: version of definitions -> partition -> the last round that it announced for a draft.
    """

    next: NextSet | None = None
    announced: AnnouncedRounds = {}
    since: dict[int, int] = {}
    drafted: dict[str, dict[int, int]] = {}


class Coverage(msgspec.Struct):
    """Which records of the log the stored rows cover: all before ``covered_to`` but the ``gaps``.

    ``features`` are the ids whose values the rows have. ``gaps`` are ranges of offsets in order, the ends
    excluded. ``total``: how many offsets there were to read. The rows are complete from ``since_ms``; 0:
    there were no earlier events. ``wiped``: hash of an erased identifier -> the offset of the erasure:
    earlier records are no history.
    """

    features: list[int]
    gaps: list[tuple[int, int]]
    covered_to: int
    total: int
    since_ms: int = 0
    wiped: dict[str, int] = {}


_records = msgspec.msgpack.Decoder(BackfillRecord)
_coverages = msgspec.msgpack.Decoder(Coverage)
_announcements = msgspec.json.Decoder(Announcement)
_encode = msgspec.msgpack.Encoder().encode


def encode_record(record: BackfillRecord) -> bytes:
    """Encode the durable state of a backfill.

    >>> decode_record(encode_record(BackfillRecord(since={5: 7}))).since
    {5: 7}
    """
    return _FORMAT + _encode(record)


def decode_record(data: bytes | None) -> BackfillRecord:
    """Decode what ``encode_record`` wrote; None: no backfill. Raises StateError for anything else."""
    if not data:
        return BackfillRecord()
    if data[:1] != _FORMAT:
        raise StateError(f"the backfill of a partition has format {data[:1]!r}, not {_FORMAT!r}")
    try:
        return _records.decode(data[1:])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StateError(f"the backfill of a partition cannot be read: {error}") from error


def encode_coverage(coverage: Coverage) -> bytes:
    """Encode which records the rows cover."""
    return _FORMAT + _encode(coverage)


def decode_coverage(data: bytes | None) -> Coverage | None:
    """Decode what ``encode_coverage`` wrote; None for anything else: the rows are collected again."""
    if not data or data[:1] != _FORMAT:
        return None
    try:
        return _coverages.decode(data[1:])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def encode_announcement(announcement: Announcement) -> bytes:
    """Encode what a partition announces.

    >>> decode_announcement(encode_announcement(Announcement("v", 3, 1))) == Announcement("v", 3, 1)
    True
    """
    return msgspec.json.encode(announcement)


def decode_announcement(value: bytes | None) -> Announcement:
    """Decode what a partition announces. Raises ValueError for an invalid record."""
    try:
        return _announcements.decode(value or b"")
    except msgspec.MsgspecError as error:
        raise ValueError(f"invalid record of a backfill: {error}") from error
