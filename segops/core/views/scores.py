"""What a score of a model is computed from, for a profile at an instant."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp2
from typing import Any, Final

import msgspec

from segops.core.features import reducer_of
from segops.core.features.purchases import PurchaseHistory
from segops.core.profile import Profile
from segops.core.rules import model
from segops.core.rules.blocks import scores_of
from segops.core.rules.execution import figure_value
from segops.core.rules.figures import DaysFigure, ScoreFigure
from segops.core.scoring.affinity import AffinityScore
from segops.core.scoring.figure_scores import (
    MAX_DAYS,
    IntentScore,
    TreesScore,
    WeightedScore,
    input_number,
)
from segops.core.scoring.models import READY, Input
from segops.core.scoring.order_scores import OrderScore
from segops.core.scoring.own import OwnScore
from segops.core.values import format_instant, kind

#: The contributions that a note names, the greatest first.
_NAMED: Final = 5


class Contribution(msgspec.Struct, frozen=True):
    """A feature of a model: the value of its figure, and what it adds to the score.

    For a logistic model and for trees with a logistic link, that is in log-odds.
    """

    name: str
    value: Any
    adds: float


class ScoreDetails(msgspec.Struct, frozen=True):
    """What a score is computed from. ``facts``: x, t_x and T in days, or for ``intent`` both probabilities.

    Of an affinity: the decayed counts and shares of the value.

    ``valid_until``: from then on the model is stale. ``reasons``: why the model gives no scores.
    """

    name: str
    status: str
    reasons: tuple[str, ...] = ()
    valid_until: str | None = None
    facts: dict[str, float] = {}
    contributions: tuple[Contribution, ...] = ()


def score_details(
    scored: model.ScoreNode | ScoreFigure, profile: Profile, now_ms: int
) -> ScoreDetails | None:
    """Return what a score is computed from; None if no model has it."""
    found = scored.model
    if found is None:
        return None
    until = None if found.valid_until_ms is None else format_instant(found.valid_until_ms)
    details = ScoreDetails(_figure(scored).title, found.status, found.reasons, until)
    if found.formula is None:
        return details
    if isinstance(found.formula, AffinityScore):
        return msgspec.structs.replace(details, facts=_drawn(found.formula, profile, now_ms))
    if isinstance(found.formula, OrderScore):
        return msgspec.structs.replace(details, facts=_facts(found.formula, profile, now_ms))
    values = [figure_value(each.figure, profile, now_ms) for each in found.formula.inputs]
    if isinstance(found.formula, OwnScore):
        return _of_own(details, found.formula, values)
    numbers = [_number(*each) for each in zip(found.formula.inputs, values, strict=True)]
    if isinstance(found.formula, IntentScore):
        now, usual = found.formula.both(numbers)
        return msgspec.structs.replace(details, facts={"now": now, "usual": usual})
    return msgspec.structs.replace(details, contributions=_contributions(found.formula, values, numbers))


def score_note(node: model.Node, profile: Profile, now_ms: int) -> str | None:
    """Return what the scores of a leaf are computed from, in words; None for one without a model."""
    notes = [_note(each, profile, now_ms) for each in scores_of(node)] if not model.children(node) else []
    return "; ".join(note for note in notes if note) or None


def _note(scored: model.ScoreNode | ScoreFigure, profile: Profile, now_ms: int) -> str:
    details = score_details(scored, profile, now_ms)
    if details is None:
        return ""
    if details.status != READY:
        return f"the model of {scored.name} is {details.status}: {', '.join(details.reasons)}"
    until_ms = None if scored.model is None else scored.model.valid_until_ms
    parts = [*details.reasons, *(f"{name} {value:g}" for name, value in details.facts.items())]
    strongest = sorted(details.contributions, key=lambda each: -abs(each.adds))[:_NAMED]
    parts += [f"{each.name} {each.adds:+.3g}" for each in strongest]
    if until_ms is not None and now_ms >= until_ms:
        parts.append(f"the model is stale since {details.valid_until}")
    return f"{details.name}: {', '.join(parts)}" if parts else ""


def _figure(scored: model.ScoreNode | ScoreFigure) -> ScoreFigure:
    return scored.untested if isinstance(scored, model.ScoreNode) else scored


def _drawn(formula: AffinityScore, profile: Profile, now_ms: int) -> dict[str, float]:
    """Return the counts now of the value, or of the strongest one, and of all, and both shares."""
    read = formula.read(profile.features.get(formula.feature.id))
    of = None if read is None else formula.of or formula.strongest(read)
    if read is None or of is None:
        return {}
    decay = exp2((read.latest_ms - now_ms) / formula.half_life_ms)
    count, share = read.counts.get(of, 0.0), dict(formula.shares)[of]
    return {
        "count": round(count * decay, 3),
        "of all": round(read.total * decay, 3),
        "own share": round(count / read.total, 3),
        "share of all customers": share,
    }


def _of_own(details: ScoreDetails, formula: OwnScore, values: Sequence[Any]) -> ScoreDetails:
    """Return the details of an own score: its figures that are numbers, and why it cannot be computed."""
    named = zip(formula.inputs, values, strict=True)
    facts = {each.name: float(value) for each, value in named if kind(value) == "number"}
    reasons = () if formula.problem is None else (formula.problem,)
    return msgspec.structs.replace(details, facts=facts, reasons=reasons)


def _facts(formula: OrderScore, profile: Profile, now_ms: int) -> dict[str, float]:
    feature = formula.feature
    read = reducer_of(feature).read(profile.features.get(feature.id), now_ms)
    if not isinstance(read, PurchaseHistory):
        return {}
    return {"x": read.repeats, "t_x": read.last, "T": round(read.age(now_ms), 3)}


def _number(each: Input, value: Any) -> float:
    capped = isinstance(each.figure, DaysFigure) and value is not None
    return input_number(each, min(value, MAX_DAYS) if capped else value)


def _contributions(
    formula: WeightedScore | TreesScore, values: Sequence[Any], numbers: Sequence[float]
) -> tuple[Contribution, ...]:
    adds = formula.contributions(numbers)
    named = zip(formula.inputs, values, adds, strict=True)
    return tuple(Contribution(each.name, _plain(value), add) for each, value, add in named)


def _plain(value: Any) -> Any:
    return float(value) if hasattr(value, "numerator") and value.__class__ is not bool else value
