"""Events from a file or standard input: one by one, or in slices for an event loop.

A line is an event, or a body with a ``batch`` of events. Blank lines and byte-order marks are skipped.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import sys
import threading
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, Self, cast

from segops.core.errors import UserError
from segops.schemas.batches import events_of

STDIN: Final = Path("-")
_CHUNK: Final = 1 << 18
_PIECE: Final = 1 << 20
_AHEAD: Final = 4
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")


class Found(NamedTuple):
    """One event of a file: its line number, and its number in that line's batch (from 1; 0: no batch)."""

    line: int
    item: int
    value: bytes

    @property
    def location(self) -> str:
        """Where the event is, for messages."""
        return f"line {self.line}, event {self.item} of the batch" if self.item else f"line {self.line}"

    @property
    def default_id(self) -> str:
        """The substitute for a missing messageId."""
        return f"line:{self.line}:{self.item}" if self.item else f"line:{self.line}"


def read_events(path: Path) -> Iterator[Found]:
    """Yield the events of a file in order (``-``: standard input; ``.gz``: decompressed).

    Raises UserError if the file cannot be read to its end.
    """
    with _open_bytes(path) as file:
        for number, line in enumerate(_lines(path, file), 1):
            if number == 1:
                _refuse_utf_16(path, line)
            yield from events_in(line.rstrip(b"\r\n"), number)


def events_in(line: bytes, number: int) -> Iterator[Found]:
    """Yield the events of a line without its line feed; ``number`` counts lines from 1."""
    found = events_of(line)
    for item, value in enumerate(found, 1):
        if value.strip():
            yield Found(number, item if len(found) > 1 else 0, value)


def read_chunks(path: Path) -> Iterator[bytes]:
    """Yield whole lines of a file, many at once, as soon as they can be read (see ``read_events``).

    Raises UserError if the file cannot be read to its end.
    """
    with _open_bytes(path) as file:
        rest, begun = b"", False
        for read in _pieces(path, file):
            rest += read
            if not begun and len(rest) > 1:
                _refuse_utf_16(path, rest)
                begun = True
            cut = rest.rfind(b"\n") + 1
            if cut:
                yield rest[:cut]
                rest = rest[cut:]
        if rest:
            yield rest


def _open_bytes(path: Path) -> BinaryIO:
    if path == STDIN:
        return sys.stdin.buffer
    try:
        return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


def _pieces(path: Path, file: BinaryIO) -> Iterator[bytes]:
    try:
        while read := cast(io.BufferedReader, file).read1(_PIECE):
            yield read
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read to its end: {error}") from None


def _lines(path: Path, file: BinaryIO) -> Iterator[bytes]:
    try:
        yield from file
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read to its end: {error}") from None


def _refuse_utf_16(path: Path, head: bytes) -> None:
    if head.startswith(_UTF_16):
        raise UserError(f"{path}: expected UTF-8, got UTF-16 (in PowerShell, write with -Encoding utf8)")


class LineSource:
    """The events of ``path`` (``-``: standard input; ``.gz``: decompressed), in slices.

    For progress, ``size`` is the file's length in bytes and ``position`` the number of bytes read; None and 0
    for standard input.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._raw = _open(path)
        self.size = None if path == STDIN else path.stat().st_size
        self._number = 0
        self._file = gzip.GzipFile(fileobj=self._raw) if path.suffix == ".gz" else self._raw

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()
        self._raw.close()

    @property
    def position(self) -> int:
        """The number of bytes read so far."""
        return 0 if self.size is None else self._raw.tell()

    async def slices(self) -> AsyncIterator[Sequence[tuple[int, bytes]]]:
        """Yield whole events with their line numbers, as soon as they can be read.

        Raises UserError if the file cannot be read to its end.
        """
        rest, begun = b"", False
        async for chunk in self._chunks():
            if not begun:
                _refuse_utf_16(self._path, chunk)
                begun = True
            *lines, rest = (rest + chunk).split(b"\n")
            yield self._numbered(lines)
        if rest:
            yield self._numbered([rest])

    def _numbered(self, lines: Sequence[bytes]) -> Sequence[tuple[int, bytes]]:
        first = self._number + 1
        self._number += len(lines)
        return [
            (number, event)
            for number, line in enumerate(lines, first)
            for event in events_of(line.removesuffix(b"\r"))
            if event.strip()
        ]

    async def _chunks(self) -> AsyncIterator[bytes]:
        # A daemon thread: a read from a terminal cannot be cancelled and must not delay the exit.
        loop = asyncio.get_running_loop()
        ready: asyncio.Queue[bytes | Exception] = asyncio.Queue(_AHEAD)

        def pump() -> None:
            found: bytes | Exception = b"..."
            while found and not isinstance(found, Exception):
                found = self._read()
                put = ready.put(found)
                try:
                    asyncio.run_coroutine_threadsafe(put, loop).result()
                except CancelledError:  # the loop ends before the file
                    return
                except RuntimeError:  # the loop has ended
                    put.close()
                    return

        threading.Thread(target=pump, daemon=True).start()
        while found := await ready.get():
            if isinstance(found, Exception):
                raise UserError(f"{self._path}: {self._unread(found)}") from found
            yield found

    def _unread(self, error: Exception) -> str:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if not self._number:
            return f"cannot be read: {reason}"
        return f"cannot be read to its end: {reason}; the {self._number:,} lines before it were sent"

    def _read(self) -> bytes | Exception:
        try:
            return self._file.read(_CHUNK)
        except (OSError, EOFError, ValueError, zlib.error) as error:  # ValueError: closed meanwhile
            return error


def _open(path: Path) -> BinaryIO:
    try:
        if path == STDIN:  # unbuffered: returns available bytes at once and holds no lock while waiting
            return cast(BinaryIO, io.FileIO(0, closefd=False))
        return path.open("rb")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
