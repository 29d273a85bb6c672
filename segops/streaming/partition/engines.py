"""Engines of definitions: made away from the loop, once for all partitions, of what is compiled already.

To compile ten thousand segments takes seconds, and to pack them for the changelog a good part of one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from segops.core.engine import Engine
from segops.core.segments import Definition, SegmentSet
from segops.schemas.in_force import pack_definitions, unpack_definitions

_KEPT: Final = 4


@lru_cache(maxsize=_KEPT)
def packed_of(segments: SegmentSet) -> bytes:
    """The definitions of a set as the changelog has them."""
    return pack_definitions(segments.definitions)


@lru_cache(maxsize=_KEPT)
def engine_of(packed: bytes) -> Engine:
    """The engine of packed definitions. Raises StateError, or DefinitionError."""
    return Engine(SegmentSet(unpack_definitions(packed)))


def build(definitions: Sequence[Definition], former: Engine | None = None) -> Engine:
    """The engine of some definitions, ready for all that needs it. Raises DefinitionError."""
    engine = Engine(SegmentSet(definitions, None if former is None else former.segments))
    packed_of(engine.segments)
    return engine


async def build_aside(definitions: Sequence[Definition], former: Engine) -> Engine:
    """``build`` in a thread: events go on meanwhile."""
    return await asyncio.to_thread(build, definitions, former)
