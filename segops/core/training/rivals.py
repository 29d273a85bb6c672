"""Whether a new model takes the place of the one in force: both are measured on the same held-out future."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from segops.core.training.gates import MAX_ECE
from segops.core.training.quality import Quality

#: By so much may the AUC of a new model be lower, and its Brier score higher in proportion: less is chance.
AUC_MARGIN: Final = 0.005
BRIER_MARGIN: Final = 0.01


class InForce(msgspec.Struct, frozen=True):
    """The model in force.

    ``foretell``: what it says of a vector; None if it reads features that the trainer lacks. ``live_ece``:
    its calibration error on the latest known day, if one is known.
    """

    version: int
    foretell: Callable[[Sequence[float]], float] | None
    valid_until_ms: int | None = None
    live_ece: float | None = None


class Rival(msgspec.Struct, frozen=True):
    """The model in force beside a new one. ``stays``: it does, for the ``reason``.

    ``measured``: of the model in force on the decisions on which the new one is measured; None if it cannot
    be. It may have been fitted on some of them, which is in its favour.
    """

    version: int
    stays: bool
    reason: str
    measured: Quality | None = None


def compared(new: Quality, of: InForce, measured: Quality | None, *, now_ms: int) -> Rival:
    """Return whether the model in force stays: it foretells clearly better, is valid, and is calibrated."""
    due = _due(of, measured, now_ms)
    if due is not None or measured is None:
        return Rival(of.version, False, due or "", measured)
    worse = _worse(new, measured)
    stays = bool(worse)
    reason = f"the new model is worse: {', '.join(worse)}" if stays else "the new model is no worse"
    return Rival(of.version, stays, reason, measured)


def _due(of: InForce, measured: Quality | None, now_ms: int) -> str | None:
    """Return why the model in force is replaced by any model that is ready, or None."""
    if of.valid_until_ms is not None and now_ms >= of.valid_until_ms:
        return "it is past its valid_until"
    if of.live_ece is not None and of.live_ece >= MAX_ECE:
        return (
            f"its calibration error is {of.live_ece:.3f} on the latest known day, below {MAX_ECE:g} is needed"
        )
    return "it cannot be compared: it reads features that the trainer lacks" if measured is None else None


def _worse(new: Quality, old: Quality) -> list[str]:
    """Return by what a model is worse than another one, beyond the margins.

    >>> from segops.core.training.quality import quality
    >>> good, bad = (quality([p, 1 - p], [False, True]) for p in (0.1, 0.6))
    >>> _worse(bad, good), _worse(good, bad)
    (['AUC 0.000 instead of 1.000', 'Brier score 0.3600 instead of 0.0100'], [])
    """
    found = []
    if new.auc is not None and old.auc is not None and new.auc < old.auc - AUC_MARGIN:
        found.append(f"AUC {new.auc:.3f} instead of {old.auc:.3f}")
    if new.brier > old.brier * (1 + BRIER_MARGIN):
        found.append(f"Brier score {new.brier:.4f} instead of {old.brier:.4f}")
    return found
