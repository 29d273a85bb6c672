"""Protobuf messages: decoded by their descriptors, without generated code."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any, Final

from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    json_format,
    message_factory,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
from google.protobuf.message import DecodeError, Message

from segops.core.errors import RejectedEvent
from segops.sources.framing import UNDECODABLE
from segops.sources.registry import RegistryAway

#: Files that every schema may import.
_WELL_KNOWN: Final = {
    each.DESCRIPTOR.name: each.DESCRIPTOR.serialized_pb
    for each in (
        any_pb2,
        descriptor_pb2,
        duration_pb2,
        empty_pb2,
        field_mask_pb2,
        struct_pb2,
        timestamp_pb2,
        wrappers_pb2,
    )
}
_MAIN: Final = "segops-source.proto"


class ProtobufSchema:
    """A message type. Raises ValueError if the descriptors are invalid or lack it."""

    def __init__(self, descriptor: Any) -> None:
        self._descriptor = descriptor
        self._class = message_factory.GetMessageClass(descriptor)

    @classmethod
    def registered(cls, text: str, references: Mapping[str, str], indexes: tuple[int, ...]) -> ProtobufSchema:
        """Return the message type with these indexes in a file of a registry, in its serialized form.

        Raises RegistryAway if the registry serves another form.
        """
        files = [_file(referred, name) for name, referred in references.items()]
        main = _file(text, _MAIN)
        pool = _pool([*files, main])
        found: Any = pool.FindFileByName(_MAIN)
        messages = [found.message_types_by_name[each.name] for each in main.message_type]
        for index in indexes:
            if index >= len(messages):
                raise ValueError(f"no message with the indexes {list(indexes)}")
            found = messages[index]
            messages = list(found.nested_types)
        return cls(found)

    @classmethod
    def described(cls, descriptor_set: str, message: str) -> ProtobufSchema:
        """Return a message type of a base64 descriptor set (``protoc --include_imports -o``)."""
        try:
            data = base64.b64decode(descriptor_set, validate=True)
            files = descriptor_pb2.FileDescriptorSet.FromString(data)
            return cls(_pool(files.file).FindMessageTypeByName(message))
        except (binascii.Error, DecodeError):
            raise ValueError("invalid descriptor set") from None
        except KeyError:
            raise ValueError(f"no message {message} in the descriptor set") from None

    def decode(self, payload: bytes) -> dict[str, Any]:
        """Return a message as plain values, by the field names of the schema. Raises RejectedEvent."""
        try:
            return _values(self._class.FromString(payload))
        except (DecodeError, RecursionError, ValueError) as error:
            raise RejectedEvent(UNDECODABLE, f"not a {self._descriptor.full_name}: {error}") from None

    def lacks(self, path: tuple[str, ...]) -> bool:
        """Tell whether no message of this type can have a value at a path."""
        descriptor: Any = self._descriptor
        for name in path:
            if descriptor is None or descriptor.full_name.startswith("google.") or _is_map(descriptor):
                return False
            field = descriptor.fields_by_name.get(name)
            if field is None:
                return True
            descriptor = field.message_type
        return False


def _file(text: str, name: str) -> descriptor_pb2.FileDescriptorProto:
    try:
        file = descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(text, validate=True))
    except (binascii.Error, DecodeError, ValueError):
        raise RegistryAway(
            "the registry serves no serialized protobuf schemas: name a descriptor set as the source's schema"
        ) from None
    file.name = name
    return file


def _pool(files: Iterable[descriptor_pb2.FileDescriptorProto]) -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    listed = {file.name: file for file in files}
    for name, serialized in _WELL_KNOWN.items():
        if name not in listed:
            pool.AddSerializedFile(serialized)
    try:
        for file in listed.values():
            pool.Add(file)
        for name in listed:
            pool.FindFileByName(name)
    except (TypeError, KeyError) as error:
        raise ValueError(f"invalid descriptors: {error}") from None
    return pool


def _values(message: Message) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        if field.has_presence and not message.HasField(field.name):
            continue
        value = getattr(message, field.name)
        if field.message_type is not None and _is_map(field.message_type):
            item = field.message_type.fields_by_name["value"]
            found[field.name] = {str(key): _value(item, value[key]) for key in value}
        elif field.is_repeated:
            found[field.name] = [_value(field, each) for each in value]
        else:
            found[field.name] = _value(field, value)
    return found


def _value(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        known = field.message_type.full_name.startswith("google.protobuf.")
        return json_format.MessageToDict(value) if known else _values(value)
    if field.enum_type is not None:
        known_number = field.enum_type.values_by_number.get(value)
        return value if known_number is None else known_number.name
    return value


def _is_map(descriptor: Any) -> bool:
    return bool(descriptor.GetOptions().map_entry)
