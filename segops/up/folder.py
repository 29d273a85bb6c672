"""The data folder of ``segops up``: locked by one at a time, with keys of its own."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from segops.brokers import BrokerUnavailable
from segops.brokers.folder import lock_folder
from segops.core.errors import UserError

_PROCESSES: Final = "processes.json"
_KEYS: Final = "write-keys"
_READ_KEYS: Final = "read-keys"
#: The source whose write key a new folder gets.
SOURCE: Final = "website"
#: The server whose secret key of the read API a new folder gets.
SERVER: Final = "backend"


class FolderInUse(UserError):
    """Another ``segops up``, or a process that a killed one left, uses the folder."""


class DataFolder:
    """A locked data folder. Children inherit ``lock``, so that the folder stays locked while one lives."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.lock = lock

    @property
    def broker(self) -> Path:
        """The folder of the broker, the same as that of ``segops broker``."""
        return self.path / "broker"

    @property
    def keys_file(self) -> Path:
        """The file of the write key, in the form of SEGOPS_COLLECT_KEYS_FILE."""
        return self.path / _KEYS

    @property
    def read_keys_file(self) -> Path:
        """The file of the secret key, in the form of SEGOPS_SERVE_SECRET_KEYS_FILE."""
        return self.path / _READ_KEYS

    @property
    def environment_file(self) -> Path:
        """A shell file by which other commands find this system."""
        return self.path / "environment"

    def names(self, bootstrap_servers: str) -> bool:
        """Tell whether the environment file names these brokers."""
        try:
            lines = self.environment_file.read_text().splitlines()
        except OSError:
            return False
        return f"export SEGOPS_KAFKA_BOOTSTRAP_SERVERS={bootstrap_servers}" in lines

    def log_of(self, component: str) -> Path:
        """Return the log of a component."""
        folder = self.path / "logs"
        folder.mkdir(exist_ok=True)
        return folder / f"{component}.log"

    def note(self, pids: Mapping[str, int]) -> None:
        """Record the running processes, for the message to one who starts a second system."""
        file = self.path / _PROCESSES
        draft = file.with_suffix(".draft")
        draft.write_bytes(msgspec.json.encode(pids))
        draft.replace(file)  # a reader sees one version or the other, never a part

    def write_key(self) -> str:
        """Return the write key of this folder, made at its first use and readable by its owner only."""
        return _key_in(self.keys_file, f"{SOURCE}=wk-")

    def read_key(self) -> str:
        """Return the secret key of the read API, made as the write key is."""
        return _key_in(self.read_keys_file, f"{SERVER}=sk-")


def _key_in(path: Path, begin: str) -> str:
    with suppress(FileExistsError):
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{begin}{secrets.token_hex(12)}\n")
    pair = path.read_text().partition("\n")[0]
    return pair.partition("=")[2].strip()


@contextmanager
def data_folder(path: Path) -> Iterator[DataFolder]:
    """Lock a folder, made if missing. Raises FolderInUse, UserError if it cannot be used."""
    try:
        lock = lock_folder(path)
    except BrokerUnavailable as error:
        raise _refusal(path, error) from None
    try:
        yield DataFolder(path, lock)
    finally:
        (path / _PROCESSES).unlink(missing_ok=True)
        os.close(lock)


def _refusal(path: Path, error: BrokerUnavailable) -> UserError:
    try:
        pids = msgspec.json.decode((path / _PROCESSES).read_bytes(), type=dict[str, int])
    except (OSError, msgspec.MsgspecError):
        return UserError(str(error))
    running = {name: pid for name, pid in pids.items() if _runs(pid)}
    if "up" in running:
        return FolderInUse(
            f"the data folder {path} is in use by another `segops up` (process {running['up']}): "
            "stop it, or choose another folder (--data-dir)"
        )
    left = ", ".join(f"{name} {pid}" for name, pid in running.items())
    stop = " ".join(map(str, running.values()))
    return FolderInUse(f"a killed `segops up` left processes that use {path}: {left}. Stop them: kill {stop}")


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
