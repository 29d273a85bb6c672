"""The scores of a profile, for people: now, as time goes on, and when they pass a threshold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from segops.core.memberships import compile_part
from segops.core.profile import Profile
from segops.core.rules import model
from segops.core.rules.blocks import scores_of
from segops.core.rules.execution import Rule, figure_value
from segops.core.rules.figures import ScoreFigure
from segops.core.rules.wording import threshold
from segops.core.scoring.affinity import AffinityScore
from segops.core.scoring.models import STANDARD_SCORES
from segops.core.scoring.order_scores import OrderScore
from segops.core.segments import Definition, SegmentSet
from segops.core.values import nearest
from segops.core.views.scores import ScoreDetails, score_details

DAY_MS: Final = 86_400_000
#: The most scores that are shown, and the points of a curve beside the one for now.
MAX_SCORES: Final = 32
_POINTS: Final = 30
#: Reads of figures beyond which a curve has fewer points.
_READS: Final = 3_000


class Crossing(msgspec.Struct, frozen=True):
    """A test of the score in a published segment or indicator: whether it ``holds``.

    ``at_ms``: when that changes without another event (None: never). ``holds``: None if it fails to evaluate.
    """

    segment_key: str
    name: str
    test: str
    holds: bool | None
    at_ms: int | None


class ScoreView(msgspec.Struct, frozen=True):
    """A score that published definitions read. ``value``: None if it is missing.

    ``curve``: its values at instants ahead, each as [ms UTC, value], if nothing more happens; empty for a
    score without numbers. ``details``: what it is computed from; None without a model.
    """

    name: str
    value: Any
    curve: tuple[tuple[int, float | None], ...]
    crossings: tuple[Crossing, ...]
    details: ScoreDetails | None


def view_scores(segments: SegmentSet, profile: Profile, now_ms: int, *, days: int) -> tuple[ScoreView, ...]:
    """Return the scores that these segments read, by name, on a profile that they have evaluated.

    ``days``: how far the curves go. Where definitions carry different models of one score, the first counts.
    """
    read: dict[str, model.ScoreNode | ScoreFigure] = {}
    for definition in segments.all_definitions:
        for each in scores_of(definition.when):
            read.setdefault(_figure(each).title, each)
    crossings = _crossings(segments, profile, now_ms)
    names = sorted(read, key=lambda name: (name not in STANDARD_SCORES, name))[:MAX_SCORES]
    return tuple(_view(read[name], profile, now_ms, days, crossings.get(name, [])) for name in names)


def _view(
    scored: model.ScoreNode | ScoreFigure, profile: Profile, now_ms: int, days: int, crossings: list[Crossing]
) -> ScoreView:
    figure = _figure(scored)
    value = _value(figure, profile, now_ms)
    curve = _curve(figure, profile, now_ms, days) if isinstance(value, (int, float)) else ()
    try:
        details = score_details(scored, profile, now_ms)
    except Exception:  # a score that fails is missing
        details = None
    return ScoreView(figure.title, value, curve, tuple(crossings), details)


def _figure(scored: model.ScoreNode | ScoreFigure) -> ScoreFigure:
    return scored.untested if isinstance(scored, model.ScoreNode) else scored


def _value(figure: ScoreFigure, profile: Profile, now_ms: int) -> Any:
    try:
        found = figure_value(figure, profile, now_ms)
    except Exception:  # a score that fails is missing
        return None
    return nearest(found) if hasattr(found, "numerator") else found


def _curve(
    figure: ScoreFigure, profile: Profile, now_ms: int, days: int
) -> tuple[tuple[int, float | None], ...]:
    formula = None if figure.model is None else figure.model.formula
    inputs = 1 if isinstance(formula, (AffinityScore, OrderScore, type(None))) else len(formula.inputs)
    points = max(2, min(_POINTS, _READS // max(1, inputs)))
    times = (now_ms + days * DAY_MS * number // points for number in range(points + 1))
    return tuple((at_ms, _value(figure, profile, at_ms)) for at_ms in times)


def _crossings(segments: SegmentSet, profile: Profile, now_ms: int) -> dict[str, list[Crossing]]:
    """Return the tests of each score by the segments in force."""
    rules = {segment.key: segment.referred for segment in segments.segments}
    found: dict[str, list[Crossing]] = {}
    for definition in segments.definitions:
        for node in _tests(definition.when):
            found.setdefault(node.untested.title, []).append(
                _crossing(node, definition, rules, (profile, now_ms))
            )
    return found


def _tests(rule: model.Node) -> Iterator[model.ScoreNode]:
    """Yield the tests of scores in a rule, without those of a node with a refresh."""
    yield from (each for each in model.below(rule) if isinstance(each, model.ScoreNode))


def _crossing(
    node: model.ScoreNode, definition: Definition, rules: dict[str, Rule], at: tuple[Profile, int]
) -> Crossing:
    profile, now_ms = at
    holds, at_ms = None, None
    try:
        rule = compile_part(node, rules[definition.key], rules)
        holds = rule.holds(profile, now_ms)
        at_ms = rule.next_flip(profile, now_ms, holds)
    except Exception:  # a rule that fails has no verdict
        holds = None
    return Crossing(definition.key, definition.name, threshold(node) or "", holds, at_ms)
