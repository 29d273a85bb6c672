"""How far the import of a file has come: its record in the pulls topic."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
import xxhash

from segops.core.errors import SegopsError, UserError

_FORMAT: Final = 1
_BLOCK: Final = 1 << 20


class ImportState(msgspec.Struct, kw_only=True):
    """The state of an import that began at ``started_ms``: of a file, with the map of this hash.

    ``rows`` rows are durable: as ``events``, or ``rejected``. The events happened from ``from_ms`` to
    ``until_ms``; None without any. ``done``: that is the whole file.
    """

    file: str
    map_hash: str
    started_ms: int
    rows: int = 0
    events: int = 0
    rejected: int = 0
    from_ms: int | None = None
    until_ms: int | None = None
    done: bool = False
    format: int = _FORMAT

    def cover(self, time_ms: int) -> None:
        """Extend the range of the events by one."""
        self.from_ms = time_ms if self.from_ms is None else min(self.from_ms, time_ms)
        self.until_ms = time_ms if self.until_ms is None else max(self.until_ms, time_ms)


_decoder = msgspec.json.Decoder(ImportState)


def encode_state(state: ImportState) -> bytes:
    """Return the value of the state's record."""
    return msgspec.json.encode(state)


def decode_state(value: bytes) -> ImportState:
    """Decode the value of a record. Raises SegopsError for one of another version."""
    try:
        found = _decoder.decode(value)
    except msgspec.MsgspecError as error:
        raise SegopsError(f"unreadable state of an import: {error}") from error
    if found.format != _FORMAT:
        raise SegopsError(f"unknown state of an import: expected format {_FORMAT}, got {found.format}")
    return found


def content_hash(path: Path) -> str:
    """Return the hash of a file's content, by which it is recognised under any name. Raises UserError."""
    found = xxhash.xxh3_128()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                found.update(block)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    return found.hexdigest()
