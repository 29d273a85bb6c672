"""Records of definitions with the models that they carry beside them, each once.

A definition carries the models that its rule reads, up to 400,000 bytes each, and several definitions often
read the same ones. Where records travel together, each names its models, and the models stand beside them.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from segops.core.errors import DefinitionError, Issue

_KEY: Final = "models"
_MARK: Final = b'"models":'
_SEPARATOR: Final = "|"
_HASH: Final = 32
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Shared(NamedTuple):
    """Records that name their models, and the models, by the model's name and a hash of its content."""

    records: tuple[msgspec.Raw, ...]
    models: dict[str, msgspec.Raw]

    @property
    def size(self) -> int:
        """The number of bytes of the records and the models."""
        return sum(map(_size, (*self.records, *self.models.values())))

    def sizes(self) -> str:
        """Return the bytes of the models by name, as text; "" without any.

        >>> shared([b'{"key":"a","when":{},"models":{"buying":{"version":1}}}']).sizes()
        ' (models: buying 13)'
        """
        found: Counter[str] = Counter()
        for name, model in self.models.items():
            found[name.rpartition(_SEPARATOR)[0]] += _size(model)
        listed = ", ".join(f"{name} {size:,}" for name, size in sorted(found.items()))
        return f" (models: {listed})" if listed else ""


def shared(records: Iterable[bytes]) -> Shared:
    """Take the models out of records of definitions, as ``definition_to_record`` encodes them.

    >>> found = shared([b'{"key":"a","models":{"buying":{"version":1}}}', b'{"key":"b"}'])
    >>> [len(bytes(each)) for each in found.records], [bytes(each) for each in found.models.values()]
    ([73, 11], [b'{"version":1}'])
    """
    models: dict[str, msgspec.Raw] = {}
    return Shared(tuple(_without(each, models) for each in records), models)


def whole(records: Iterable[msgspec.Raw], models: Mapping[str, msgspec.Raw]) -> list[bytes]:
    """Return the records that ``shared`` was given, to the byte.

    A record that cannot be read stays as it is. Raises DefinitionError if a model is missing.
    """
    return [_with(bytes(each), models) for each in records]


def _without(record: bytes, models: dict[str, msgspec.Raw]) -> msgspec.Raw:
    if _MARK not in record:
        return msgspec.Raw(record)
    fields = _fields.decode(record)
    if _KEY not in fields:
        return msgspec.Raw(record)
    names = {}
    for name, model in _fields.decode(fields[_KEY]).items():
        digest = hashlib.sha256(bytes(model)).hexdigest()[:_HASH]
        names[name] = f"{name}{_SEPARATOR}{digest}"
        models.setdefault(names[name], model)
    return _encoded(fields, names)


def _with(record: bytes, models: Mapping[str, msgspec.Raw]) -> bytes:
    if _MARK not in record:
        return record
    try:
        fields = _fields.decode(record)
        carried = _fields.decode(fields.get(_KEY, msgspec.Raw(b"{}")))
    except msgspec.DecodeError:
        return record
    if not any(bytes(each).startswith(b'"') for each in carried.values()):
        return record
    names = {name: msgspec.json.decode(each, type=str) for name, each in carried.items()}
    missing = sorted(each for each in names.values() if each not in models)
    if missing:
        raise DefinitionError([Issue("record", _KEY, f"missing models: {', '.join(missing)}")])
    return bytes(_encoded(fields, {name: models[each] for name, each in names.items()}))


def _encoded(fields: dict[str, msgspec.Raw], models: Mapping[str, Any]) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode({**fields, _KEY: models}))


def _size(raw: msgspec.Raw) -> int:
    return len(bytes(raw))
