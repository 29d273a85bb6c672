"""Engines of definitions: built off the event loop, once for all partitions, reusing compiled segments.

Compiling ten thousand segments takes seconds, and packing them for the changelog much of one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from segops.core.engine import Engine
from segops.core.errors import SegopsError
from segops.core.segments import Definition, SegmentSet
from segops.schemas.in_force import pack_definitions, unpack_definitions

log = logging.getLogger(__name__)

_CACHE_SIZE: Final = 4


@lru_cache(maxsize=_CACHE_SIZE)
def packed_of(segments: SegmentSet) -> bytes:
    """Return the definitions of a set as the changelog stores them."""
    return pack_definitions(segments.all_definitions)


@lru_cache(maxsize=_CACHE_SIZE)
def engine_of(packed: bytes) -> Engine:
    """Return the engine of packed definitions. Raises StateError or DefinitionError."""
    return Engine(SegmentSet(unpack_definitions(packed)))


def build(definitions: Sequence[Definition], former: Engine | None = None) -> Engine:
    """Return the engine of some definitions, with its packed form cached. Raises DefinitionError."""
    engine = Engine(SegmentSet(definitions, None if former is None else former.segments))
    packed_of(engine.segments)
    return engine


def build_draft(definitions: Sequence[Definition], former: Engine) -> Engine | None:
    """Return the engine of the definitions of a draft; None, after a log entry, if it cannot be compiled."""
    try:
        return build(definitions, former)
    except SegopsError as error:
        log.error("no history is collected for a plan, its definitions cannot be compiled: %s", error)
        return None


async def build_in_thread(definitions: Sequence[Definition], former: Engine) -> Engine:
    """Run ``build`` in a thread, so that event processing continues."""
    return await asyncio.to_thread(build, definitions, former)
