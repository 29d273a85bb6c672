"""Untrusted text on a terminal: identifiers, traits and names must not control the terminal."""

from __future__ import annotations

import re
from typing import Final

#: C0, DEL and C1 control the terminal, separators and bidirectional controls change how a line looks, and a
#: lone surrogate cannot be encoded.
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_CONTROL_BUT_LINES: Final = re.compile(_CONTROL.pattern.replace("\x00-\x1f", "\x00-\x09\x0b-\x1f"))


def printable(text: str, *, lines: bool = False) -> str:
    r"""Return ``text`` with every control character escaped as ``\uXXXX``; ``lines`` keeps line feeds.

    JSON keeps its meaning, since there such a character can only be part of a string.

    >>> printable("ann\x1b[2J\u202e\n"), printable("a\nb\r", lines=True)
    ('ann\\u001b[2J\\u202e\\u000a', 'a\nb\\u000d')
    """
    if (
        text.replace("\n", "") if lines else text
    ).isprintable():  # the common case, without the regular expression
        return text
    return (_CONTROL_BUT_LINES if lines else _CONTROL).sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
