"""A client of a schema registry with Confluent's REST interface."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec

from segops.config import SourceSettings
from segops.core.errors import RejectedEvent, SegopsError, UserError

#: The reason of a record whose schema the registry does not know.
UNKNOWN_SCHEMA: Final = "unknown_schema"
_FORGET_AFTER_S: Final = 60.0
_MAX_UNKNOWN: Final = 10_000
_MAX_REFERENCES: Final = 200
_NOT_FOUND: Final = 404
#: An incompatible schema, or an invalid one.
_REFUSED: Final = (409, 422)
_MAX_REASON: Final = 500
_MEDIA_TYPE: Final = "application/vnd.schemaregistry.v1+json"


class RegistryAway(SegopsError):
    """The registry does not answer, or refuses this client: waiting, or an operator, can help."""


class RegisteredSchema(msgspec.Struct, frozen=True):
    """A schema of the registry. ``references``: the schemas it refers to, by name, each after its own."""

    id: int
    type: str
    text: str
    references: Mapping[str, str] = {}


class _Reference(msgspec.Struct):
    name: str
    subject: str
    version: int


class _Answer(msgspec.Struct):
    schema: str
    schemaType: str = "AVRO"
    references: list[_Reference] = []


class _Registered(msgspec.Struct):
    id: int


_Kind = TypeVar("_Kind", _Answer, _Registered)


class _Mistake(msgspec.Struct):
    error_code: int


class Registry:
    """Fetches each schema once. Close it, or use it as a context manager."""

    def __init__(self, settings: SourceSettings) -> None:
        self._url = settings.registry_url
        self._options = _options(settings)
        self._known: dict[int, RegisteredSchema] = {}
        self._unknown: dict[int, float] = {}
        self._lock = asyncio.Lock()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Registry:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def schema(self, schema_id: int) -> RegisteredSchema:
        """Return a schema by its id.

        Raises RejectedEvent if the registry does not know it, which is remembered for a minute; RegistryAway.
        """
        known = self._known.get(schema_id)
        if known is not None:
            return known
        async with self._lock:  # partitions that meet a new schema together ask once
            if schema_id not in self._known:
                self._known[schema_id] = await self._fetch(schema_id)
        return self._known[schema_id]

    async def _fetch(self, schema_id: int) -> RegisteredSchema:
        now = asyncio.get_running_loop().time()
        if now < self._unknown.get(schema_id, 0.0):
            raise _unknown_schema(schema_id)
        answer = await self._get(f"schemas/ids/{schema_id}")
        if answer is None:
            if len(self._unknown) >= _MAX_UNKNOWN:
                self._unknown.clear()
            self._unknown[schema_id] = now + _FORGET_AFTER_S
            raise _unknown_schema(schema_id)
        if answer.schemaType == "PROTOBUF":
            answer = await self._get(f"schemas/ids/{schema_id}?format=serialized") or answer
        references: dict[str, str] = {}
        await self._refer(answer, references)
        return RegisteredSchema(schema_id, answer.schemaType, answer.schema, references)

    async def _refer(self, answer: _Answer, found: dict[str, str]) -> None:
        """Add what a schema refers to, after what that refers to."""
        for each in answer.references:
            if each.name in found:
                continue
            path = f"subjects/{quote(each.subject, safe='')}/versions/{each.version}"
            suffix = "?format=serialized" if answer.schemaType == "PROTOBUF" else ""
            below = await self._get(path + suffix)
            if below is None or len(found) >= _MAX_REFERENCES:
                lacking = f"{each.subject}, version {each.version}"
                raise RejectedEvent(UNKNOWN_SCHEMA, f"the registry lacks {lacking}")
            await self._refer(below, found)
            found[each.name] = below.schema

    async def register(self, subject: str, schema: str) -> int:
        """Return the id of an Avro schema; add it to the subject unless the subject has it.

        Raises UserError if the registry refuses it, RegistryAway.
        """
        body = msgspec.json.encode({"schema": schema})
        path = f"subjects/{quote(subject, safe='')}"
        for each in (path, f"{path}/versions"):
            found = await self._request(each, _Registered, body=body)
            if found is not None:
                return found.id
        raise RegistryAway(f"{self._url}: status {_NOT_FOUND} for /{path}/versions")

    async def _get(self, path: str) -> _Answer | None:
        """Return an answer, None if what is asked for does not exist. Raises RegistryAway."""
        return await self._request(path, _Answer)

    async def _request(self, path: str, kind: type[_Kind], *, body: bytes | None = None) -> _Kind | None:
        """Return an answer to GET, or with a body to POST; None if what is asked for does not exist.

        Raises UserError if the registry refuses a schema in the body, RegistryAway.
        """
        if self._url is None:
            raise RegistryAway("SEGOPS_SCHEMA_REGISTRY_URL is missing")
        if self._session is None:
            self._session = aiohttp.ClientSession(**self._options)
        try:
            method, headers = ("GET", None) if body is None else ("POST", {"Content-Type": _MEDIA_TYPE})
            async with self._session.request(
                method, f"{self._url}/{path}", data=body, headers=headers
            ) as response:
                answer = await response.read()
                if response.status == _NOT_FOUND and _is_definite(answer):
                    return None
                if body is not None and response.status in _REFUSED:
                    reason = answer[:_MAX_REASON].decode(errors="replace")
                    raise UserError(f"{self._url} refuses the schema of /{path}: {reason}")
                if not response.ok:
                    raise RegistryAway(f"{self._url}: status {response.status} for /{path}")
                return msgspec.json.decode(answer, type=kind)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise RegistryAway(f"{self._url}: {error or type(error).__name__}") from error
        except msgspec.MsgspecError as error:
            raise RegistryAway(f"{self._url}: unexpected answer for /{path}: {error}") from error


def _is_definite(body: bytes) -> bool:
    """Tell whether the registry itself says that it does not know something, and not a proxy before it."""
    try:
        return msgspec.json.decode(body, type=_Mistake).error_code // 100 == _NOT_FOUND
    except msgspec.MsgspecError:
        return False


def _unknown_schema(schema_id: int) -> RejectedEvent:
    return RejectedEvent(UNKNOWN_SCHEMA, f"the registry has no schema with the id {schema_id}")


def _options(settings: SourceSettings) -> dict[str, Any]:
    headers = {"Accept": f"{_MEDIA_TYPE}, application/json"}
    options: dict[str, Any] = {
        "headers": headers,
        "timeout": aiohttp.ClientTimeout(total=settings.registry_timeout_ms / 1000),
    }
    if settings.registry_token is not None:
        headers["Authorization"] = f"Bearer {settings.registry_token.get_secret_value()}"
    if settings.registry_username is not None and settings.registry_password is not None:
        login = f"{settings.registry_username}:{settings.registry_password.get_secret_value()}"
        headers["Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
    if settings.registry_cafile is not None:
        try:
            context = ssl.create_default_context(cafile=str(settings.registry_cafile))
        except (OSError, ssl.SSLError) as error:
            reason = f"cannot use {settings.registry_cafile}: {error}"
            raise UserError(f"SEGOPS_SCHEMA_REGISTRY_CAFILE: {reason}") from error
        options["connector"] = aiohttp.TCPConnector(ssl=context)
    return options
