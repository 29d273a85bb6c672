"""The features that profiles lack."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from segops.core.backfill import missing
from segops.core.features import Feature
from segops.core.rules.wording import feature_label


def lacking(wanted: Iterable[Feature], held: Mapping[int, Feature]) -> Iterator[str]:
    """Yield the labels of the features that profiles do not hold, or not in full."""
    for feature in wanted:
        if missing(held, {feature.id: feature}):
            yield feature_label(feature)
