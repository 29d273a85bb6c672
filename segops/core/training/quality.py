"""What predictions of a yes or no are worth: order, calibration, and gain over the base rate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

import msgspec

#: Bins of a calibration curve, and groups of the lift.
BINS: Final = 10


class Bin(msgspec.Struct, frozen=True, array_like=True):
    """Rows with neighbouring predictions: the mean prediction, the share that followed, and their number."""

    predicted: float
    observed: float
    count: int


class Quality(msgspec.Struct, frozen=True):
    """The figures of ``quality``. ``auc`` and ``lift`` are None and empty if all rows had one outcome."""

    rows: int
    positives: int
    auc: float | None
    ece: float
    brier: float
    base_brier: float
    lift: list[float]
    curve: list[Bin]


def quality(predicted: Sequence[float], observed: Sequence[bool]) -> Quality:
    """Return what predictions were worth. Raises ValueError without a row.

    >>> found = quality([0.1, 0.1, 0.1, 0.9], [False, False, False, True])
    >>> found.auc, round(found.ece, 3), round(found.brier, 3), found.base_brier
    (1.0, 0.1, 0.01, 0.1875)
    """
    if not predicted:
        raise ValueError("expected at least one prediction")
    curve = bins(predicted, observed)
    share = sum(observed) / len(observed)
    return Quality(
        rows=len(predicted),
        positives=sum(observed),
        auc=auc(predicted, observed),
        ece=ece(curve),
        brier=sum((p - y) ** 2 for p, y in zip(predicted, observed, strict=True)) / len(predicted),
        base_brier=share * (1 - share),
        lift=lift(predicted, observed),
        curve=curve,
    )


def auc(predicted: Sequence[float], observed: Sequence[bool]) -> float | None:
    """Return the probability that a row that was followed had the higher prediction; equal ones count half.

    It is the rank sum of Mann and Whitney. None if all rows had one outcome.

    >>> auc([0.2, 0.2, 0.7], [False, True, True])
    0.75
    """
    positives = sum(observed)
    negatives = len(observed) - positives
    if not positives or not negatives:
        return None
    below, won = 0, 0.0
    for group in _equal(predicted):
        followed = sum(observed[index] for index in group)
        won += followed * (below + (len(group) - followed) / 2)
        below += len(group) - followed
    return won / (positives * negatives)


def bins(predicted: Sequence[float], observed: Sequence[bool], number: int = BINS) -> list[Bin]:
    """Return at most ``number`` bins of about as many rows each, by rising prediction.

    Rows with equal predictions share a bin: the order in which they came says nothing.

    >>> [(each.observed, each.count) for each in bins([0.5, 0.25, 0.25], [True, False, True], 2)]
    [(0.5, 2), (1.0, 1)]
    """
    found: list[Bin] = []
    rows: list[int] = []
    taken, total = 0, len(predicted)
    for group in _equal(predicted):
        rows += group
        if (taken + len(rows)) * number >= total * (len(found) + 1):
            found.append(_bin(rows, predicted, observed))
            taken, rows = taken + len(rows), []
    return found


def _bin(rows: Sequence[int], predicted: Sequence[float], observed: Sequence[bool]) -> Bin:
    number = len(rows)
    mean = sum(predicted[index] for index in rows) / number
    return Bin(mean, sum(observed[index] for index in rows) / number, number)


def ece(curve: Sequence[Bin]) -> float:
    """Return the expected calibration error: the mean distance of prediction and share over all rows."""
    return sum(abs(each.predicted - each.observed) * each.count for each in curve) / sum(
        each.count for each in curve
    )


def lift(predicted: Sequence[float], observed: Sequence[bool], groups: int = BINS) -> list[float]:
    """Return of each tenth of the rows, the highest predictions first, its share over that of all rows.

    Rows with equal predictions count as the mean of them, in whichever tenth they are.

    >>> lift([0.9, 0.1, 0.1, 0.1], [True, False, False, False], 2)
    [2.0, 0.0]
    """
    positives, total = sum(observed), len(observed)
    if not positives or total < groups:
        return []
    shares: list[float] = []
    for group in reversed(list(_equal(predicted))):
        shares += [sum(observed[index] for index in group) / len(group)] * len(group)
    edges = [total * number // groups for number in range(groups + 1)]
    means = (sum(shares[low:high]) / (high - low) for low, high in pairwise(edges))
    return [mean * total / positives for mean in means]


def _equal(predicted: Sequence[float]) -> Iterator[list[int]]:
    """Yield the indexes of rows with equal predictions, by rising prediction."""
    group: list[int] = []
    for index in sorted(range(len(predicted)), key=predicted.__getitem__):
        if group and predicted[index] != predicted[group[0]]:
            yield group
            group = []
        group.append(index)
    if group:
        yield group
