"""Where the files of an archive are: the port ``Storage``, for a folder and for S3-compatible object storage.

Both promise what the archive builds on: a file appears whole or not at all, a name that was written can be
read and listed at once, and a deleted one no longer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import unquote, urlsplit

from segops.config import ArchiveSettings
from segops.core.errors import SegopsError, UserError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

#: The end of the names of files that are being written. Listed too, so that leftovers can be deleted.
DRAFT: Final = ".draft"
_NO_PYARROW: Final = (
    "the archive needs pyarrow, which is not installed: install the extra `archive` of segops-engine"
)


class ArchiveError(SegopsError):
    """The archive cannot be read or written."""


class Storage(Protocol):
    """Files by name; names are relative and have ``/`` between their parts."""

    def read(self, name: str) -> bytes:
        """Return the content of a file. Raises FileNotFoundError."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Create or replace a file at once."""
        ...

    def create(self, name: str) -> Any:
        """Return a context manager that yields a binary file; the file appears when the block ends well."""
        ...

    def open(self, name: str) -> Any:
        """Return a context manager that yields a seekable binary file. Raises FileNotFoundError."""
        ...

    def list(self, folder: str) -> list[str]:
        """Return the sorted names of all files below a folder; none if it does not exist."""
        ...

    def delete(self, name: str) -> None:
        """Delete a file if it exists."""
        ...


class FolderStorage(Storage):
    """A local folder. A file is durable when ``write`` or ``create`` returns."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __str__(self) -> str:
        return str(self._root)

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        return (self._root / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        """Create or replace a file by renaming a draft."""
        with self.create(name) as file:
            file.write(data)

    @contextmanager
    def create(self, name: str) -> Iterator[IO[bytes]]:
        """Yield a draft that is renamed when the block ends well."""
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}{DRAFT}")
        try:
            with draft.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        _sync_folder(path.parent)

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading."""
        return (self._root / name).open("rb")

    def list(self, folder: str) -> list[str]:
        """Return the names of all files below a folder."""
        return sorted(
            Path(parent, file).relative_to(self._root).as_posix()
            for parent, _, files in os.walk(self._root / folder)
            for file in files
        )

    def delete(self, name: str) -> None:
        """Delete a file; its folder remains."""
        (self._root / name).unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


class ObjectStorage(Storage):
    """A prefix of a bucket, or of any other file system of pyarrow whose puts are atomic."""

    def __init__(self, files: FileSystem, root: str) -> None:
        self._files = files
        self._root = root

    def __str__(self) -> str:
        return f"s3://{self._root}"

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def read(self, name: str) -> bytes:
        """Return the content of an object."""
        with self.open(name) as file:
            return bytes(file.read())

    def write(self, name: str, data: bytes) -> None:
        """Create or replace an object with one put."""
        with self.create(name) as file:
            file.write(data)

    @contextmanager
    def create(self, name: str) -> Iterator[Any]:
        """Yield an upload, which is completed when the block ends; no manifest names one that failed."""
        with _in_words(self), self._files.open_output_stream(self._path(name)) as file:
            yield file

    def open(self, name: str) -> Any:
        """Open an object for reading."""
        with _in_words(self):
            return self._files.open_input_file(self._path(name))

    def list(self, folder: str) -> list[str]:
        """Return the names of all objects below a prefix."""
        from pyarrow.fs import FileSelector, FileType

        below = FileSelector(self._path(folder), recursive=True, allow_not_found=True)
        with _in_words(self):
            found = self._files.get_file_info(below)
        return sorted(
            each.path.removeprefix(f"{self._root}/") for each in found if each.type == FileType.File
        )

    def delete(self, name: str) -> None:
        """Delete an object."""
        with suppress(FileNotFoundError), _in_words(self):
            self._files.delete_file(self._path(name))


@contextmanager
def _in_words(storage: ObjectStorage) -> Iterator[None]:
    """Turn an error of the object storage into one that names it."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ArchiveError(f"{storage}: {error}") from error


def open_storage(settings: ArchiveSettings) -> Storage:
    """Return the storage of SEGOPS_ARCHIVE_URL. Raises UserError if there is none, or without pyarrow."""
    if settings.url is None:
        raise UserError("no archive: set SEGOPS_ARCHIVE_URL to file:///folder or s3://bucket/prefix")
    require_pyarrow()
    parts = urlsplit(settings.url)
    if parts.scheme == "file":
        return FolderStorage(Path(unquote(parts.path)))
    root = f"{parts.netloc}{unquote(parts.path)}".rstrip("/")
    return ObjectStorage(_s3(settings), root)


def require_pyarrow() -> None:
    """Raise UserError if pyarrow is not installed."""
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise UserError(_NO_PYARROW) from error


def _s3(settings: ArchiveSettings) -> FileSystem:
    from pyarrow.fs import S3FileSystem

    options: dict[str, Any] = {"region": settings.s3_region} if settings.s3_region else {}
    if settings.s3_endpoint is not None:
        scheme, _, address = settings.s3_endpoint.rpartition("://")
        options |= {"endpoint_override": address, "scheme": scheme or "https"}
    return S3FileSystem(**options)
