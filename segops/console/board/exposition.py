r"""Metrics as workers show them: sums of series, rates, and percentiles of histograms.

>>> found = scraped(b'a_total{step="resolve"} 5\n' b'a_total{step="segment"} 7\n', ["a_total"])
>>> total(found, "a_total"), total(found, "a_total", step="resolve")
(12.0, 5.0)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

_LINE: Final = re.compile(rb"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)")
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Series(NamedTuple):
    """One value with its labels."""

    labels: Mapping[str, str]
    value: float


#: Name of a metric -> its series.
Scraped = Mapping[str, Sequence[Series]]


def scraped(page: bytes, names: Iterable[str]) -> dict[str, list[Series]]:
    """Return the wanted metrics of a page in the text format; lines that are none are passed over."""
    found: dict[str, list[Series]] = {name: [] for name in names}
    wanted = tuple(name.encode() for name in found)
    for line in page.split(b"\n"):
        if not line.startswith(wanted):
            continue
        match = _LINE.match(line)
        if match is not None and (series := found.get(match[1].decode())) is not None:
            series.extend(_series(match))
    return found


def _series(match: re.Match[bytes]) -> Iterator[Series]:
    try:
        value = float(match[3])
    except ValueError:
        return
    yield Series(dict(_LABEL.findall((match[2] or b"").decode(errors="replace"))), value)


def total(found: Scraped, name: str, **labels: str) -> float:
    """Return the sum of the series with these labels."""
    return sum(each.value for each in found.get(name, ()) if labels.items() <= each.labels.items())


def totals(found: Scraped, name: str, label: str) -> dict[str, float]:
    """Return the sums by the values of a label."""
    sums: dict[str, float] = {}
    for each in found.get(name, ()):
        key = each.labels.get(label, "")
        sums[key] = sums.get(key, 0.0) + each.value
    return sums


def growth(now: float, then: float) -> float:
    """Return how much a counter has grown; after a restart it began at 0."""
    return now - then if now >= then else now


#: Upper bound of each bucket -> how many observations are at most that.
Buckets = Mapping[float, float]


def buckets(found: Scraped, name: str) -> dict[float, float]:
    """Return the buckets of a histogram, over all its series."""
    return {_bound(bound): count for bound, count in totals(found, f"{name}_bucket", "le").items() if bound}


def _bound(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("inf")


def quantile(found: Buckets, share: float) -> float | None:
    """Return the value that a share of the observations is at most; None without any.

    It is interpolated within its bucket; beyond the last bound it is that bound.

    >>> quantile({1.0: 50.0, 2.0: 100.0, float("inf"): 100.0}, 0.75)
    1.5
    """
    bounds = sorted(found)
    count = found[bounds[-1]] if bounds else 0.0
    if count <= 0:
        return None
    low, before, rank = 0.0, 0.0, share * count
    for bound in bounds:
        if found[bound] >= rank:
            if bound == float("inf"):
                return low
            within = found[bound] - before
            return low + (bound - low) * ((rank - before) / within if within else 1.0)
        low, before = bound, found[bound]
    return low
