"""The blocks of a segment file that the record of a definition carries."""

from __future__ import annotations

from typing import Any

from segops.core.segments import Definition
from segops.schemas.published_lookups import columns_form


def written_blocks(definition: Definition) -> dict[str, Any]:
    """Return the parts of blocks that a definition reads, as written, by the name of the block."""
    found = {
        "rfm": definition.rfm,
        "places": definition.areas,
        "indicators": definition.indicators,
        "lookups": columns_form(definition.columns) if definition.columns else None,
        "lists": definition.lists,
        "scores": definition.scores,
        "models": definition.models,
    }
    return {name: written for name, written in found.items() if written is not None}
