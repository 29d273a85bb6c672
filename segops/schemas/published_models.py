"""Scoring models on Kafka: a record for each version, under the name, ``|`` and the version.

Of a name, the highest version is in force. The records are the library from which publishers complete the
definitions that read scores; workers read the models in the definitions alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from segops.core.scoring.models import Model
from segops.core.segments import Definition
from segops.schemas.models import read_model, written

#: The most bytes of a version's record, which the definitions that read the model carry, too.
MAX_MODEL_BYTES: Final = 400_000
#: How many versions of a model are kept.
KEPT_VERSIONS: Final = 20
_SEPARATOR: Final = "|"


class PublishedModel(msgspec.Struct, frozen=True):
    """A published version of a model. ``restores``: the earlier version that it brings back, if any."""

    model: Model
    published_ms: int
    restores: int | None = None


class _Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """The value of a record; ``model`` is as in a file."""

    model: msgspec.Raw
    published_ms: int
    restores: int | None = None


class ModelId(NamedTuple):
    """A version of a model, as the key of its record names it."""

    name: str
    version: int

    @property
    def key(self) -> bytes:
        """The key of the record.

        >>> ModelId("buying", 3).key
        b'buying|3'
        """
        return f"{self.name}{_SEPARATOR}{self.version}".encode()


def id_of(key: bytes) -> ModelId:
    """Return what the key of a record names. Raises ValueError for another key."""
    name, _, version = key.decode().rpartition(_SEPARATOR)
    if not name or not version.isascii() or not version.isdigit() or version.startswith("0"):
        raise ValueError(f"expected NAME|VERSION, got {key.decode()!r:.80}")
    return ModelId(name, int(version))


def encode_model(published: PublishedModel) -> bytes:
    """Encode the record of a version."""
    raw = msgspec.Raw(msgspec.json.encode(written(published.model)))
    return msgspec.json.encode(_Record(raw, published.published_ms, published.restores))


def decode_model(key: bytes, value: bytes) -> PublishedModel:
    """Decode a record. Raises ValueError, MsgspecError or DefinitionError for an invalid one."""
    named, record = id_of(key), msgspec.json.decode(value, type=_Record)
    model = read_model(msgspec.json.decode(record.model), f"{named.name} version {named.version}")
    if (model.name, model.version) != named:
        raise ValueError(f"the value is of version {model.version} of {model.name!r:.80}")
    return PublishedModel(model, record.published_ms, record.restores)


class ModelLog:
    """The versions of models after the records read so far. A version is decoded where it is asked for."""

    def __init__(self) -> None:
        self._values: dict[str, dict[int, bytes]] = {}
        self._decoded: dict[ModelId, PublishedModel] = {}

    def apply(self, key: bytes, value: bytes | None) -> None:
        """Apply one record. Raises ValueError for a key that names no version."""
        name, version = named = id_of(key)
        self._decoded.pop(named, None)
        if value is not None:
            self._values.setdefault(name, {})[version] = value
        elif (versions := self._values.get(name)) is not None:
            versions.pop(version, None)
            if not versions:
                del self._values[name]

    def names(self) -> list[str]:
        """Return the names of the models, in order."""
        return sorted(self._values)

    def versions(self, name: str) -> list[int]:
        """Return the versions of a model that are kept, in order; none of an unknown name."""
        return sorted(self._values.get(name, ()))

    def newest(self, name: str) -> int:
        """Return the highest version of a model; 0 of an unknown name."""
        return max(self._values.get(name, ()), default=0)

    def version(self, name: str, version: int) -> PublishedModel:
        """Return a version that is kept. Raises what ``decode_model`` raises."""
        named = ModelId(name, version)
        if named not in self._decoded:
            self._decoded[named] = decode_model(named.key, self._values[name][version])
        return self._decoded[named]

    def in_force(self, name: str) -> PublishedModel:
        """Return the highest version of a known model. Raises what ``decode_model`` raises."""
        return self.version(name, self.newest(name))

    def outdated(self, name: str) -> Iterator[ModelId]:
        """Yield the versions that need not be kept once another one is published."""
        for version in self.versions(name)[: 1 - KEPT_VERSIONS]:
            yield ModelId(name, version)

    def digest(self) -> Mapping[str, int]:
        """Return the version in force of each name."""
        return {name: self.newest(name) for name in self.names()}


def carried_models(definitions: Iterable[Definition]) -> dict[str, Model]:
    """Return the models that definitions carry, by name; of two versions of one, the higher.

    Published definitions carry the versions in force of all models that they read.
    """
    forms: dict[str, Any] = {}
    for definition in definitions:
        for name, form in (definition.models or {}).items():
            if form["version"] >= forms.get(name, form)["version"]:
                forms[name] = form
    return {name: read_model(form, name) for name, form in forms.items()}
