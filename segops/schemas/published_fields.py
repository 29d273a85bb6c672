"""The fields of a published record of a definition that are not part of the segment as written."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from segops.core.errors import DefinitionError, Issue
from segops.schemas.written import check_bounds

MAX_VERSION: Final = (1 << 63) - 1


def record_fields(value: bytes, source: str) -> dict[str, Any]:
    """Decode the JSON object of a record. Raises DefinitionError."""
    try:
        raw = msgspec.json.decode(value)
        check_bounds(raw)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise DefinitionError([Issue(source, "-", f"invalid JSON: {error}")]) from None
    if not isinstance(raw, dict):
        raise DefinitionError([Issue(source, "-", "expected a map")])
    return raw


def paused_in(raw: dict[str, Any], source: str) -> bool:
    """Return whether the memberships are frozen. Raises DefinitionError."""
    paused = raw.get("paused", False)
    if not isinstance(paused, bool):
        raise DefinitionError([Issue(source, "paused", f"expected true or false, got {paused!r:.40}")])
    return paused


def version_in(raw: dict[str, Any], source: str) -> int:
    """Return the version of the definition. Raises DefinitionError."""
    version = raw.get("version")
    if type(version) is not int or not 1 <= version <= MAX_VERSION:
        reason = f"expected an integer from 1 to {MAX_VERSION}, got {version!r}"
        raise DefinitionError([Issue(source, "version", reason)])
    return version
