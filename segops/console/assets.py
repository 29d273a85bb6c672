"""Static files: read once, compressed once, served under an address that names their contents."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

FOLDER: Final = Path(__file__).parent / "static"
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class Asset(NamedTuple):
    """A file with its compressed form, and ``etag`` as HTTP has it."""

    body: bytes
    compressed: bytes
    content_type: str
    etag: str


class Assets:
    """All static files of a folder.

    ``digest`` names the contents of all of them together, so that modules import each other by relative paths
    and no browser combines files of two versions.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self._files: Mapping[str, Asset] = {
            path.relative_to(folder).as_posix(): _read(path)
            for path in sorted(folder.rglob("*"))
            if path.suffix in _TYPES
        }
        whole = hashlib.sha256()
        for name, asset in self._files.items():
            whole.update(f"{name}\0{asset.etag}\0".encode())
        self.digest: Final = whole.hexdigest()[:16]

    def __getitem__(self, name: str) -> Asset:
        """Return a file by its path in the folder. Raises KeyError."""
        return self._files[name]

    def url(self, name: str) -> str:
        """Return the address of a file. Raises KeyError if there is none."""
        if name not in self._files:
            raise KeyError(f"no static file {name}")
        return f"/static/{self.digest}/{name}"


def _read(path: Path) -> Asset:
    body = path.read_bytes()
    etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    return Asset(body, gzip.compress(body, mtime=0), _TYPES[path.suffix], etag)
