"""The console's side of the access audit: an entry before anything is done, and how it ended."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from segops.config import Settings
from segops.console.page import Conflict, Data, NotAudited, NotFound, User
from segops.core.errors import UserError
from segops.kafka.clients import running_producer
from segops.schemas.access_audit import AccessEntry
from segops.schemas.erasures import hashed

log = logging.getLogger(__name__)

_WRITE_S: Final = 5.0
_MAX_RESULT: Final = 2_000
#: What the paths of people begin with; their argument ``id`` names the person.
PEOPLE: Final = "/people/"


class AuditLog(Protocol):
    """Where entries go."""

    async def write(self, entry: AccessEntry) -> None:
        """Write an entry: it is durable on return. Raises NotAudited."""


@dataclass(frozen=True)
class Actor:
    """Who acts, and where from."""

    user: User
    address: str


@dataclass(frozen=True)
class Subject:
    """What is acted on: the path of a request; of a person also the ``name`` in the path, and who that is.

    The audit outlives an erasure: it holds an identifier as receipts do, as its SHA-256.

    >>> Subject("/people/~x/sandbox", "~x", "user_id:ann").text[:24]
    '/people/sha256:98c8a6e2f'
    """

    path: str
    name: str = ""
    identifier: str = ""

    @property
    def text(self) -> str:
        """The object of an entry."""
        if not self.identifier:
            return self.path
        return f"{PEOPLE}sha256:{hashed(self.identifier)}{self.path.removeprefix(PEOPLE + self.name)}"


class Auditor:
    """Writes what one person does with one object."""

    def __init__(self, log: AuditLog, actor: Actor, subject: Subject) -> None:
        self._log = log
        self._actor = actor
        self._subject = subject

    async def read(self, name: str, data: Data, *, now_ms: int) -> None:
        """Write that something of a person is read. Raises NotAudited."""
        await self._log.write(self._entry(name, data, "read", now_ms=now_ms))

    async def note(self, name: str, *, now_ms: int) -> None:
        """Write something that is over when it is known, as a sign-in. Raises NotAudited."""
        await self._log.write(self._entry(name, {}, "done", now_ms=now_ms))

    @asynccontextmanager
    async def change(self, name: str, data: Data, *, now_ms: Callable[[], int]) -> AsyncIterator[None]:
        """Write that a change begins, let it be made, and write how it ended.

        Raises NotAudited before anything is changed. If its end cannot be written, the change itself is in
        the audit, and the log says how it ended.
        """
        entry = self._entry(name, data, "begun", now_ms=now_ms())
        await self._log.write(entry)
        result = "failed: stopped"
        try:
            yield
            result = "done"
        except (UserError, Conflict, NotFound) as error:
            # A reason may name the person.
            result = f"refused: {error}" if not self._subject.identifier else "refused"
            raise
        except Exception as error:
            result = f"failed: {type(error).__name__}"
            raise
        finally:
            await self._end(msgspec.structs.replace(entry, result=result[:_MAX_RESULT], at_ms=now_ms()))

    async def _end(self, entry: AccessEntry) -> None:
        try:
            await self._log.write(entry)
        except NotAudited as error:
            log.error("the audit has no result %s of %s %s: %s", entry.result, entry.action, entry.id, error)

    def _entry(self, name: str, data: Data, result: str, *, now_ms: int) -> AccessEntry:
        user = self._actor.user
        return AccessEntry(
            id=secrets.token_hex(12),
            at_ms=now_ms,
            user=user.name,
            role=user.role.name.lower(),
            login=user.login,
            address=self._actor.address,
            action=name,
            object=self._subject.text,
            data=msgspec.to_builtins(dict(data), str_keys=True),
            result=result,
        )


class KafkaAudit:
    """Entries on the topic ``segops.access-audit``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._running = AsyncExitStack()
        self._lock = asyncio.Lock()

    async def write(self, entry: AccessEntry) -> None:
        """Write an entry. Raises NotAudited if Kafka does not acknowledge it in time."""
        try:
            async with asyncio.timeout(_WRITE_S):
                producer = await self._connected()
                await producer.send_and_wait(
                    self._settings.topics.access_audit,
                    msgspec.json.encode(entry),
                    key=entry.id.encode(),
                    timestamp_ms=entry.at_ms,
                    partition=0,
                )
        except (KafkaError, OSError, TimeoutError, UserError) as error:
            await self._disconnect()
            raise NotAudited(f"the audit cannot be written: {error or 'Kafka does not answer'}") from error

    async def close(self) -> None:
        """Disconnect from Kafka."""
        await self._disconnect()

    async def _connected(self) -> AIOKafkaProducer:
        async with self._lock:
            if self._producer is None:
                self._producer = await self._running.enter_async_context(
                    running_producer(self._settings.kafka)
                )
            return self._producer

    async def _disconnect(self) -> None:
        """Forget the producer: the next entry gets a new one, whatever was wrong with this one."""
        self._producer = None
        running, self._running = self._running, AsyncExitStack()
        with suppress(KafkaError, OSError, TimeoutError):
            await running.aclose()
