"""The parser of the ``list`` node."""

from __future__ import annotations

import re
from typing import Final

from segops.core.rules import model
from segops.core.rules.parsing.reader import Reader

_KEY: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


def read_list(node: Reader) -> model.OnList:
    """Parse a ``list`` node: the key of a static list, which need not be uploaded yet."""
    form = node.at("list")
    if not isinstance(form.raw, str) or not _KEY.fullmatch(form.raw):
        form.fail(f"expected the key of a list (lower-case letters, digits and -), got {form.raw!r}")
    found = node.context.lists.get(form.raw)
    return (
        model.OnList(form.raw) if found is None else model.OnList(form.raw, found.version, found.expires_ms)
    )
