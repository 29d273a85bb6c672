"""Adoption of new definitions: which come into force at once, and which wait for history."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

import msgspec

from segops.core.backfill import missing, waiting
from segops.core.engine import Engine
from segops.core.features import Feature
from segops.core.segments import Definition, SegmentSet, references
from segops.streaming.partition.engines import build


class Adoption(NamedTuple):
    """The definitions in force at once, and the ``next`` ones, for which ``features`` are filled first.

    ``next`` None: all are in force at once. ``fresh``: keys of segments that come into force with ``next``.
    """

    engine: Engine
    next: Engine | None = None
    features: Mapping[int, Feature] = {}
    fresh: frozenset[str] = frozenset()


@lru_cache(maxsize=8)
def adoption_of(former: Engine, wanted: Engine) -> Adoption:
    """Return how a partition that evaluates by ``former`` gets to ``wanted``. May compile for seconds."""
    waits = waiting(wanted.segments, former.segments.features)
    if not waits:
        return Adoption(wanted)
    engine = build(in_force_at_once(former.segments, wanted.segments, waits), former)
    if engine.version == former.version:
        engine = former
    following = build(wanted.segments.definitions, engine)
    lacking = missing(engine.segments.features, following.segments.features)
    fresh = following.segments.by_key.keys() - engine.segments.by_key.keys()
    return Adoption(engine, following, lacking, frozenset(fresh))


def in_force_at_once(former: SegmentSet, wanted: SegmentSet, waits: Collection[str]) -> list[Definition]:
    """Return the wanted definitions that do not wait, and the former ones of those that do.

    A former definition keeps the segments that it refers to, even those that are wanted no longer.
    """
    old = {each.key: each for each in former.definitions}
    found = {each.key: each for each in wanted.definitions if each.key not in waits}
    paused = {each.key: each.paused for each in wanted.definitions}
    for key in sorted(waits):
        for each in _with_references(key, old):
            found.setdefault(
                each.key, msgspec.structs.replace(each, paused=paused.get(each.key, each.paused))
            )
    return list(found.values())


def _with_references(key: str, old: Mapping[str, Definition]) -> Iterator[Definition]:
    left, met = [key], set[str]()
    while left:
        definition = old.get(left.pop())
        if definition is not None and definition.key not in met:
            met.add(definition.key)
            yield definition
            left += references(definition.when)
