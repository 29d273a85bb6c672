"""How services know people: normalised addresses and telephone numbers, and their hashes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

#: What people write between digits; ``(0)`` is dialled within a country only.
_PUNCTUATION: Final = re.compile(r"\(0\)|[\s()./\-\u2010-\u2015]")
_INTERNATIONAL: Final = re.compile(r"(?:\+|00)([1-9][0-9]{6,14})", re.ASCII)


def trait_at(traits: Mapping[str, Any], path: str) -> Any:
    """Return the value at a path of traits; None if there is none.

    >>> trait_at({"name": {"first": "Ann"}}, "name.first"), trait_at({"name": "Ann"}, "name.first")
    ('Ann', None)
    """
    value: Any = traits
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def email_of(value: object) -> str | None:
    """Return an e-mail address without spaces around it and in lower case; None if there is none.

    >>> email_of(" Ann@Shop.example "), email_of(" "), email_of(None)
    ('ann@shop.example', None, None)
    """
    return (value.strip().lower() or None) if isinstance(value, str) else None


def phone_of(value: object) -> str | None:
    """Return a telephone number in E.164; None unless it is written with the code of its country.

    >>> phone_of("+49 (0)170 123-4567"), phone_of("0049 170 1234567"), phone_of("0170 1234567")
    ('+491701234567', '+491701234567', None)
    """
    if not isinstance(value, str):
        return None
    found = _INTERNATIONAL.fullmatch(_PUNCTUATION.sub("", value))
    return None if found is None else f"+{found[1]}"


def sha256_hex(text: str) -> str:
    """Return the SHA-256 hash of a text in UTF-8, in lower-case hexadecimal digits.

    >>> sha256_hex("ann@shop.example")[:16]
    '6a0bf011a1fc1e9a'
    """
    return hashlib.sha256(text.encode()).hexdigest()
