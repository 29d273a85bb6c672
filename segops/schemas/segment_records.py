"""The fields of a published definition that are not part of the segment as written."""

from __future__ import annotations

from typing import Any

import msgspec

from segops.core.errors import DefinitionError, Issue
from segops.schemas.written import check_bounds

MAX_VERSION = (1 << 63) - 1
TOPIC = "segments topic"


def fields_of(value: bytes) -> dict[str, Any]:
    """Decode a record. Raises DefinitionError for anything but a map within bounds."""
    try:
        raw = msgspec.json.decode(value)
        check_bounds(raw)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise DefinitionError([Issue(TOPIC, "-", f"invalid JSON: {error}")]) from None
    if not isinstance(raw, dict):
        raise DefinitionError([Issue(TOPIC, "-", "expected a map")])
    return raw


def paused_in(raw: dict[str, Any]) -> bool:
    """Return whether a record pauses its segment. Raises DefinitionError for an invalid field."""
    paused = raw.get("paused", False)
    if not isinstance(paused, bool):
        raise DefinitionError([Issue(TOPIC, "paused", f"expected true or false, got {paused!r:.40}")])
    return paused


def version_in(raw: dict[str, Any]) -> int:
    """Return the version in a record. Raises DefinitionError for an invalid one."""
    version = raw.get("version")
    if type(version) is not int or not 1 <= version <= MAX_VERSION:
        reason = f"expected an integer from 1 to {MAX_VERSION}, got {version!r}"
        raise DefinitionError([Issue(TOPIC, "version", reason)])
    return version
