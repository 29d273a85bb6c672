"""Lines of a file or of the standard input, as slices for an event loop."""

from __future__ import annotations

import asyncio
import gzip
import io
import threading
import zlib
from codecs import BOM_UTF8
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, Self, cast

from segops.core.errors import UserError

STDIN: Final = Path("-")
_CHUNK: Final = 1 << 18
_AHEAD: Final = 4


class LineSource:
    """The lines of ``path`` (``-``: the standard input; ``.gz``: unpacked), without their line ends.

    ``size`` is the file's length in bytes and ``position`` how much of it has been read, for progress;
    both are None and 0 for the standard input. Blank lines are passed over; so is a byte-order mark.
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
        """Bytes of the file read so far."""
        return 0 if self.size is None else self._raw.tell()

    async def slices(self) -> AsyncIterator[Sequence[tuple[int, bytes]]]:
        """Whole lines with their numbers, as soon as they can be read.

        Raises UserError when the file cannot be read to its end.
        """
        rest = b""
        async for chunk in self._chunks():
            *lines, rest = (rest + chunk).split(b"\n")
            yield self._numbered(lines)
        if rest:
            yield self._numbered([rest])

    def _numbered(self, lines: Sequence[bytes]) -> Sequence[tuple[int, bytes]]:
        first = self._number + 1
        if first == 1 and lines:
            lines = [lines[0].removeprefix(BOM_UTF8), *lines[1:]]
        self._number += len(lines)
        return [
            (number, line.removesuffix(b"\r")) for number, line in enumerate(lines, first) if line.strip()
        ]

    async def _chunks(self) -> AsyncIterator[bytes]:
        # A daemon thread, since a read from a terminal cannot be broken off: it must not hold up the exit.
        loop = asyncio.get_running_loop()
        ready: asyncio.Queue[bytes | Exception] = asyncio.Queue(_AHEAD)

        def pump() -> None:
            found: bytes | Exception = b"..."
            with suppress(CancelledError):  # the loop has ended before the file
                while found and not isinstance(found, Exception) and not loop.is_closed():
                    found = self._read()
                    asyncio.run_coroutine_threadsafe(ready.put(found), loop).result()

        threading.Thread(target=pump, daemon=True).start()
        while found := await ready.get():
            if isinstance(found, Exception):
                raise UserError(f"{self._path}: {self._unread(found)}") from found
            yield found

    def _unread(self, error: Exception) -> str:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if not self._number:
            return f"cannot be read: {reason}"
        return f"cannot be read to its end: {reason}; the {self._number:,} lines before were sent"

    def _read(self) -> bytes | Exception:
        try:
            return self._file.read(_CHUNK)
        except (OSError, EOFError, ValueError, zlib.error) as error:  # ValueError: closed in the meantime
            return error


def _open(path: Path) -> BinaryIO:
    try:
        if path == STDIN:  # unbuffered: what is there is read at once, and no lock is held while waiting
            return cast(BinaryIO, io.FileIO(0, closefd=False))
        return path.open("rb")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
