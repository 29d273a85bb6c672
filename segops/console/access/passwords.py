"""Local users: their names, roles and scrypt hashes."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import SecretStr

from segops.config import ConsoleSettings
from segops.console.page import Role
from segops.core.errors import UserError

#: Memory and time of a guess: 2^15 blocks of 1 KiB, 32 MiB.
_LOG2_N: Final = 15
_R: Final = 8
_P: Final = 1
_BYTES: Final = 32
_MAX_MEMORY: Final = 256 << 20
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
#: More at a time would take the memory and the cores that pages need.
_AT_ONCE: Final = 2
_MOST: Final = 40
MAX_PASSWORD: Final = 1_000


class Hash(NamedTuple):
    """An scrypt hash; ``text`` is how it is written."""

    log2_n: int
    r: int
    p: int
    salt: bytes
    key: bytes
    text: str


class LocalUser(NamedTuple):
    """A user of the settings."""

    name: str
    role: Role
    hash: Hash


def hash_password(password: str) -> str:
    """Return the scrypt hash of a password, as it is written in settings.

    >>> matches(read_hash(hash_password("correct horse")), "correct horse")
    True
    """
    salt = secrets.token_bytes(16)
    key = _scrypt(password, salt, n=_LOG2_N, r=_R, p=_P)
    return f"scrypt${_LOG2_N}${_R}${_P}${b64encode(salt).decode()}${b64encode(key).decode()}"


def read_hash(text: str) -> Hash:
    """Read a written hash. Raises ValueError, which does not show it."""
    try:
        scheme, log2_n, r, p, salt, key = text.split("$")
        found = Hash(
            int(log2_n), int(r), int(p), b64decode(salt, validate=True), b64decode(key, validate=True), text
        )
    except ValueError:
        raise ValueError("expected a hash of `segops console hash`") from None
    strong = 14 <= found.log2_n <= 17 and 8 <= found.r <= 16 and 1 <= found.p <= 4
    if scheme != "scrypt" or not strong or len(found.salt) < 16 or len(found.key) != _BYTES:
        raise ValueError("expected a hash of `segops console hash`")
    return found


def matches(known: Hash, password: str) -> bool:
    """Return whether a password has this hash. Takes about 0.1 s, and memory, on purpose."""
    key = _scrypt(password, known.salt, n=known.log2_n, r=known.r, p=known.p)
    return hmac.compare_digest(key, known.key)


def _scrypt(password: str, salt: bytes, *, n: int, r: int, p: int) -> bytes:
    data = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(data, salt=salt, n=1 << n, r=r, p=p, maxmem=_MAX_MEMORY, dklen=_BYTES)


class LocalUsers:
    """The users of the settings. Raises UserError for invalid ones, never showing a hash."""

    def __init__(self, settings: ConsoleSettings) -> None:
        self._users: Mapping[str, LocalUser] = _unique(_read(settings))
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._checking = 0
        self._decoy = next((user.hash for user in self._users.values()), None)

    def __bool__(self) -> bool:
        return bool(self._users)

    @property
    def is_busy(self) -> bool:
        """Whether so many passwords are being checked that another one must wait for seconds."""
        return self._checking >= _MOST

    def get(self, name: str) -> LocalUser | None:
        """Return a user by name."""
        return self._users.get(name)

    async def check(self, name: str, password: str) -> LocalUser | None:
        """Return the user whose name and password these are, else None: equally late for unknown names."""
        user = self._users.get(name)
        known = self._decoy if user is None else user.hash
        if known is None or len(password) > MAX_PASSWORD:
            return None
        self._checking += 1
        try:
            async with self._slots:
                fits = await asyncio.to_thread(matches, known, password)
        finally:
            self._checking -= 1
        return user if fits else None


def _unique(users: Iterator[tuple[str, LocalUser]]) -> Mapping[str, LocalUser]:
    found: dict[str, LocalUser] = {}
    for where, user in users:
        if user.name in found:
            raise UserError(f"{where}: duplicate user {user.name}")
        found[user.name] = user
    return found


def _read(settings: ConsoleSettings) -> Iterator[tuple[str, LocalUser]]:
    inline: SecretStr | None = settings.users
    entries = [] if inline is None else inline.get_secret_value().split(",")
    yield from _parsed("SEGOPS_CONSOLE_USERS: user", entries)
    if settings.users_file is not None:
        yield from _parsed(f"{settings.users_file}: line", _lines(settings.users_file))


def _lines(path: Path) -> list[str]:
    try:
        return [line.partition("#")[0] for line in path.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "invalid UTF-8"
        raise UserError(f"{path}: {reason} (SEGOPS_CONSOLE_USERS_FILE)") from None


def _parsed(where: str, entries: list[str]) -> Iterator[tuple[str, LocalUser]]:
    for number, entry in enumerate(entries, 1):
        if not entry.strip():
            continue
        name, _, rest = entry.strip().partition(":")
        role, _, written = rest.partition(":")
        if _NAME.fullmatch(name) is None or role.upper() not in Role.__members__:
            roles = ", ".join(each.name.lower() for each in Role)
            raise UserError(f"{where} {number}: expected name:role:hash, with a role of {roles}")
        try:
            yield f"{where} {number}", LocalUser(name, Role[role.upper()], read_hash(written))
        except ValueError as error:
            raise UserError(f"{where} {number}: {error}") from None
