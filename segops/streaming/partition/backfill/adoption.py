"""Adoption of new definitions: which come into force at once, and which wait for history."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from segops.core.backfill import in_force_at_once, missing, waiting
from segops.core.engine import Engine
from segops.core.features import Feature
from segops.streaming.partition.engines import build


class DraftSet(NamedTuple):
    """The definitions that the plan ``plan_id`` publishes if it is applied, before ``until_ms``."""

    plan_id: str
    engine: Engine
    until_ms: int


class Adoption(NamedTuple):
    """The definitions in force at once, and the ``next`` ones, for which ``features`` are filled first.

    ``next`` None: all are in force at once. ``fresh``: keys of what comes into force with ``next``.
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
    following = build(wanted.segments.all_definitions, engine)
    lacking = missing(engine.segments.features, following.segments.features)
    fresh = following.segments.index_of.keys() - engine.segments.index_of.keys()
    return Adoption(engine, following, lacking, frozenset(fresh))
