"""Static lists in the segments topic: their records, and the version in force that is bound to rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

import msgspec

from segops.core.rules.model import ListInForce
from segops.core.segments import Definition
from segops.core.static_lists import bind, lists_of
from segops.schemas.segment_reading import KEY_PATTERN

#: The keys of these records begin with it; no segment has such a key.
LIST_PREFIX: Final = b"\x00list:"

_Count = Annotated[int, msgspec.Meta(ge=0)]


class PublishedList(msgspec.Struct, frozen=True, omit_defaults=True):
    """A static list as published.

    ``begun``: the number of its latest upload, which may not be complete; ``version``: the upload in force
    (0: none, or the list was removed), of ``ids`` identifiers, since ``since_ms`` (wall clock) and until
    ``expires_ms`` (None: for good). A removed list keeps its record, so that no number is used twice.
    """

    key: Annotated[str, msgspec.Meta(pattern=KEY_PATTERN)]
    begun: _Count
    version: _Count = 0
    ids: _Count = 0
    since_ms: int = 0
    expires_ms: int | None = None

    @property
    def in_force(self) -> ListInForce | None:
        """What rules read of the list; None if no upload is in force."""
        return ListInForce(self.version, self.expires_ms) if self.version else None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(PublishedList)


def record_key(key: str) -> bytes:
    """Return the key of the record of a list."""
    return LIST_PREFIX + key.encode()


def encode_list(published: PublishedList) -> bytes:
    """Encode the record of a list."""
    return _encoder.encode(published)


def decode_list(key: bytes, value: bytes) -> PublishedList:
    """Decode the record of a list. Raises ValueError for an invalid one."""
    try:
        found = _decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"invalid list: {error}") from error
    if record_key(found.key) != key:
        raise ValueError(f"the value is of the list {found.key!r}")
    return found


def bound(definitions: Iterable[Definition], lists: Mapping[str, ListInForce]) -> list[Definition]:
    """Return the definitions with these lists bound to the rules that name them, and no others.

    Definitions that name none are returned as the same objects.
    """
    return [_bound(each, lists) for each in definitions]


def _bound(definition: Definition, lists: Mapping[str, ListInForce]) -> Definition:
    named = lists_of(definition.when)
    found: Any = msgspec.to_builtins({key: lists[key] for key in sorted(named) if key in lists}) or None
    if not named or found == definition.lists:
        return definition
    return msgspec.structs.replace(definition, when=bind(definition.when, lists), lists=found)
