"""The manifest of one partition: which files hold its records, and from where the archive goes on."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

import msgspec

from segops.archive.storage import ArchiveError

#: Incremented for changes that earlier versions cannot read.
FORMAT: Final = 1
#: Folders beside the days of a partition.
MANIFESTS: Final = "_manifest"
ERASURES: Final = "_erasures"
_CLAIM = re.compile(r"(?:^|\.)(\d{8})-([0-9a-f]{8})\.")


class ArchiveClaim(msgspec.Struct, frozen=True, order=True):
    """The right of one writer to one partition. The greatest claim is the valid one.

    >>> str(ArchiveClaim(3, "00c0ffee")), ArchiveClaim(3, "00c0ffee") < ArchiveClaim(4, "00000000")
    ('00000003-00c0ffee', True)
    """

    epoch: int
    nonce: str

    def __str__(self) -> str:
        return f"{self.epoch:08}-{self.nonce}"


def claim_of(name: str) -> ArchiveClaim | None:
    """Return the claim in the name of a file, or None.

    >>> claim_of("2026-01-31/00000000000000000000-00000000000000000009.00000003-00c0ffee.12.parquet")
    ArchiveClaim(epoch=3, nonce='00c0ffee')
    """
    found = _CLAIM.search(name.rpartition("/")[2])
    return ArchiveClaim(int(found[1]), found[2]) if found else None


class ArchivedFile(msgspec.Struct, frozen=True):
    """A file of records. ``name``: below the folder of the partition; offsets and times are inclusive."""

    name: str
    first: int
    last: int
    records: int
    bytes: int
    min_ms: int
    max_ms: int

    @property
    def day(self) -> str:
        """The UTC day of all records: ``2026-01-31``."""
        return self.name.partition("/")[0]


class Gap(msgspec.Struct, frozen=True):
    """Offsets that Kafka had deleted before they were archived, inclusive."""

    first: int
    last: int


class Manifest(msgspec.Struct):
    """The content of one partition of the archive. Files that it does not name are not part of it.

    Every record before ``next_offset`` is in one of ``files``, in one of ``gaps``, or erased.
    ``complete_since_ms``: the timestamp of the first record after the last gap; 0: no gap. ``receipts``: for
    each partition of the receipts topic, the offset before which all erasures are carried out.
    ``erasures``: the files with the archive's own receipts. ``sequence`` numbers the commits of a claim.
    """

    topic: str
    partition: int
    claim: ArchiveClaim
    format: int = FORMAT
    sequence: int = 0
    next_offset: int | None = None
    complete_since_ms: int = 0
    gaps: list[Gap] = []
    files: list[ArchivedFile] = []
    receipts: dict[int, int] = {}
    erasures: list[str] = []

    @property
    def folder(self) -> str:
        """The folder of the partition."""
        return folder_of(self.topic, self.partition)

    def named(self) -> set[str]:
        """Return the full names of all files that belong to the archive."""
        return {f"{self.folder}/{name}" for name in [*(file.name for file in self.files), *self.erasures]}

    def name_for(self, day: str, first: int, last: int) -> str:
        """Return the name of a new file. It is unique: the next commit has another sequence."""
        return f"{day}/{first:020}-{last:020}.{self.claim}.{self.sequence}.parquet"


def folder_of(topic: str, partition: int) -> str:
    """Return the folder of a partition."""
    return f"{topic}/{partition}"


def day_of(timestamp_ms: int) -> str:
    """Return the UTC day of an instant.

    >>> day_of(1_767_225_599_999), day_of(1_767_225_600_000)
    ('2025-12-31', '2026-01-01')
    """
    return datetime.fromtimestamp(timestamp_ms // 1000, UTC).strftime("%Y-%m-%d")


_decoder = msgspec.json.Decoder(Manifest)
_encoder = msgspec.json.Encoder()


def encode_manifest(manifest: Manifest) -> bytes:
    """Encode a manifest as JSON."""
    return _encoder.encode(manifest)


def decode_manifest(data: bytes, name: str) -> Manifest:
    """Decode a manifest. Raises ArchiveError that names the file."""
    try:
        found = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ArchiveError(f"{name}: invalid manifest: {error}") from error
    if found.format != FORMAT:
        raise ArchiveError(f"{name}: unknown format {found.format}; this version of segops reads {FORMAT}")
    return found
