"""Gates: what a model must show before it gives scores, and signs that it knows the future."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from segops.core.training.decisions import Decision
from segops.core.training.periods import Split
from segops.core.training.quality import Quality, auc
from segops.core.values import format_duration

MIN_PROFILES: Final = 100
MIN_HORIZONS: Final = 3
#: So many decisions with each outcome are needed to measure, and to calibrate.
MIN_ROWS: Final = 30
MIN_AUC: Final = 0.6
MAX_ECE: Final = 0.05
#: A feature that orders outcomes this well alone, or a fall of the AUC by this much, is a leak.
LEAK_AUC: Final = 0.98
LEAK_FALL: Final = 0.15


def too_little(found: Sequence[Decision], split: Split, *, history_ms: int, horizon_ms: int) -> list[str]:
    """Return why there is not enough data to fit and to measure a model; empty if there is.

    ``found``: all decisions whose outcome is known; ``history_ms``: from the first event to the clock.
    """
    reasons = []
    did = {each.profile for each in found if each.observed}
    did_not = {each.profile for each in found if not each.observed}
    for what, number in (("who did", len(did)), ("who did not", len(did_not))):
        if number < MIN_PROFILES:
            reasons.append(f"{number:,} {what}, at least {MIN_PROFILES} are needed")
    if history_ms < MIN_HORIZONS * horizon_ms:
        needed = format_duration(MIN_HORIZONS * horizon_ms)
        reasons.append(f"{history_ms / 86_400_000:,.1f} days of history, at least {needed} are needed")
    for what, rows in (
        ("to fit on", split.fitted),
        ("to calibrate on", split.calibrated),
        ("to measure on", split.measured),
    ):
        positives = sum(each.observed for each in rows)
        if min(positives, len(rows) - positives) < MIN_ROWS:
            reasons.append(
                f"{positives:,} of {len(rows):,} decisions {what} were followed, "
                f"at least {MIN_ROWS} with each outcome are needed"
            )
    return reasons


def not_better(found: Quality) -> list[str]:
    """Return why predictions of the held-out future are no better than chance; empty if they are.

    >>> from segops.core.training.quality import quality
    >>> not_better(quality([0.5, 0.5], [True, False]))
    ['AUC 0.500, above 0.6 is needed', 'Brier score 0.2500, below 0.2500 of the base rate is needed']
    """
    reasons = []
    if found.auc is None or found.auc <= MIN_AUC:
        reasons.append(f"AUC {found.auc or 0.5:.3f}, above {MIN_AUC:g} is needed")
    if found.ece >= MAX_ECE:
        reasons.append(f"calibration error (ECE) {found.ece:.3f}, below {MAX_ECE:g} is needed")
    if found.brier >= found.base_brier:
        needed = f"below {found.base_brier:.4f} of the base rate is needed"
        reasons.append(f"Brier score {found.brier:.4f}, {needed}")
    return reasons


def single_aucs(decisions: Sequence[Decision], feature: int) -> tuple[float, float]:
    """Return how well a feature alone orders outcomes, in either direction: 0.5 to 1.

    The second figure is that of the decisions at events, or of those in quiet, where it orders better: a
    property that is filled in afterwards tells the outcome at its event, and no longer an hour later.
    """
    apart = [[each for each in decisions if each.quiet is quiet] for quiet in (False, True)]
    return _single(decisions, feature), max(
        (_single(part, feature) for part in apart if _telling(part)), default=0.5
    )


def _telling(part: Sequence[Decision]) -> bool:
    positives = sum(each.observed for each in part)
    return min(positives, len(part) - positives) >= MIN_ROWS


def _single(decisions: Sequence[Decision], feature: int) -> float:
    found = auc([each.vector[feature] for each in decisions], [each.observed for each in decisions])
    return 0.5 if found is None else max(found, 1 - found)


def leaks(
    names: Sequence[str], alone: Sequence[float], progressive: float | None, held_out: float | None
) -> list[str]:
    """Return the signs that a model knows the future, with the features that show it.

    ``alone``: the greatest AUC of each feature by itself; ``progressive``, ``held_out``: that of predictions
    before the outcome was known, of the fitted period and of the held-out future.

    >>> leaks(["views", "paid"], [0.7, 0.99], 0.8, 0.79)
    ['the feature paid alone tells the outcome (AUC 0.990): it may know the future']
    """
    found = [
        f"the feature {name} alone tells the outcome (AUC {value:.3f}): it may know the future"
        for name, value in zip(names, alone, strict=True)
        if value >= LEAK_AUC
    ]
    if progressive is not None and held_out is not None and progressive - held_out > LEAK_FALL:
        best = names[max(range(len(alone)), key=alone.__getitem__)]
        fall = f"from {progressive:.3f} to {held_out:.3f} in the held-out future"
        found.append(f"the AUC falls {fall}: a feature, perhaps {best}, may know what it is to foretell")
    return found
