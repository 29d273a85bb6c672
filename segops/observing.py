"""Many observations of a histogram at once."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

from prometheus_client import Histogram


def observe_all(histogram: Histogram, values: Sequence[float]) -> None:
    """Observe values as ``histogram.observe`` does one, at the cost of one update per bucket.

    >>> from prometheus_client import CollectorRegistry
    >>> registry = CollectorRegistry()
    >>> histogram = Histogram("waited", "", buckets=(1, 5), registry=registry)
    >>> observe_all(histogram, [1, 3, 4, 9])
    >>> [registry.get_sample_value("waited_bucket", {"le": bound}) for bound in ("1.0", "5.0", "+Inf")]
    [1.0, 3.0, 4.0]
    >>> registry.get_sample_value("waited_sum")
    17.0
    """
    bounds = histogram._upper_bounds  # noqa: SLF001
    if values:
        histogram._sum.inc(sum(values))  # noqa: SLF001
    for bucket, number in Counter(bisect_left(bounds, value) for value in values).items():
        histogram._buckets[bucket].inc(number)  # noqa: SLF001
