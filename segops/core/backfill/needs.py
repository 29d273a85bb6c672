"""The features that profiles do not hold completely, and what is in force until they do."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import msgspec

from segops.core.features import Feature, reducer_of
from segops.core.features.scanning import Scanning
from segops.core.segments import Definition, SegmentSet, references


def missing(former: Mapping[int, Feature], wanted: Mapping[int, Feature]) -> dict[int, Feature]:
    """Return the features of ``wanted`` that profiles with the features ``former`` do not hold completely.

    These are the features that ``former`` lacks, of every family, and those with a raised capacity: of a full
    state, earlier entries are unknown. Both mappings are by id, as in ``SegmentSet.features``.

    >>> from msgspec.structs import replace
    >>> from segops.core.windows import Within
    >>> wide = Feature("count", ("page",), (), Within(1_000), capacity=16)
    >>> narrow = replace(wide, capacity=4)
    >>> missing({}, {wide.id: wide}) == missing({narrow.id: narrow}, {wide.id: wide}) == {wide.id: wide}
    True
    >>> missing({wide.id: wide}, {narrow.id: narrow})
    {}
    """
    return {key: feature for key, feature in wanted.items() if not _is_held(former.get(key), feature)}


def waiting(segments: SegmentSet, former: Mapping[int, Feature]) -> frozenset[str]:
    """Return the segments and indicators that cannot be decided until the features ``missing`` are filled.

    A segment waits if one of its own features is missing, at the capacity that it needs itself, or if it
    refers to a segment that waits, at any distance.
    """
    found: set[str] = set()
    for definition, segment in zip(segments.definitions, segments.segments, strict=True):
        uses = segment.referred.features  # those of referred segments among them
        own = all(_is_held(former.get(use.feature.id), use.feature) for use in uses)
        if not own or not found.isdisjoint(references(definition.when)):
            found.add(segment.key)
    for indicator in segments.indicators:
        if not all(_is_held(former.get(use.feature.id), use.feature) for use in indicator.rule.features):
            found.add(indicator.key)
    return frozenset(found)


def in_force_at_once(former: SegmentSet, wanted: SegmentSet, waits: Collection[str]) -> list[Definition]:
    """Return the wanted definitions that do not wait, and the former ones of those that do.

    A former definition keeps the segments that it refers to, even those that the wanted definitions lack.
    """
    old = {each.key: each for each in former.all_definitions}
    found = {each.key: each for each in wanted.all_definitions if each.key not in waits}
    paused = {each.key: each.paused for each in wanted.all_definitions}
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


def _is_held(former: Feature | None, wanted: Feature) -> bool:
    """Return whether a state of ``former`` decides everything that a state of ``wanted`` decides."""
    if former is None:
        return False
    if not wanted.is_limited or isinstance(reducer_of(wanted), Scanning):  # these keep every event
        return True
    return former.or_wider(wanted) is former
