"""What a format is: how keys and values of the two output topics are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from segops.core.events import Change

_REPLACEMENT: Final = "\ufffd"
#: The last instant that many readers of timestamps can represent: the end of the year 9999.
_LAST_MS: Final = 253_402_300_799_999


class Form(NamedTuple):
    """A format.

    ``membership`` and ``membership_key`` (of profile id and segment key) write the latest change of a profile
    and segment; ``change`` and ``change_key`` (of the profile id) write every change. Equal keys are
    written as equal bytes.
    """

    content_type: bytes
    membership_key: Callable[[str, str], bytes]
    change_key: Callable[[str], bytes]
    membership: Callable[[Change], bytes]
    change: Callable[[Change], bytes]


def storable(text: str) -> str:
    r"""Return a text without NUL characters, which PostgreSQL and others refuse.

    >>> storable("a\0b")
    'a\ufffdb'
    """
    return text.replace("\0", _REPLACEMENT) if "\0" in text else text


def storable_change(change: Change) -> Change:
    """Return a change whose texts are ``storable``, and which flips before the year 10000 or never."""
    altered: dict[str, str | None] = {
        name: storable(value)
        for name in Change.__struct_fields__
        if isinstance(value := getattr(change, name), str) and "\0" in value
    }
    if change.flips_at is not None and change.flips_at > _LAST_MS:
        altered["flips_at"] = None
    return msgspec.structs.replace(change, **altered) if altered else change


def text_key(profile_id: str, segment_key: str) -> bytes:
    """Return the key of a membership in the formats that have text keys.

    >>> text_key("user_id:u1", "vip")
    b'user_id:u1|vip'
    """
    return f"{profile_id}|{segment_key}".encode()
