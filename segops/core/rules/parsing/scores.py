"""The parsers of the nodes ``score`` and ``rfm``, with one predicate or with hysteresis, and of ``scores``.

Hysteresis needs both ``enter`` and ``exit``; no value may satisfy both, and no ``not`` may be above them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from segops.core.rules.analysis.satisfiability import Requirement, some_number
from segops.core.rules.model import Hysteresis, RfmNode, ScoreNode
from segops.core.rules.parsing.context import Context
from segops.core.rules.parsing.reader import Reader
from segops.core.rules.parsing.rfm import read_rfm_node
from segops.core.rules.scores import is_ready, scored
from segops.core.scoring import SCORERS
from segops.core.scoring.affinity import AffinityScore
from segops.core.scoring.models import AFFINITY, POPULATION, STANDARD_SCORES, models_of
from segops.core.scoring.order_scores import numbers_in
from segops.core.scoring.own import OwnScore
from segops.core.scoring.scored import Scored

SIDES = ("enter", "exit")
_NEGATED = "enter and exit are not allowed under not: a customer could enter and exit at once"

SCORE_PATTERN = "^[a-z0-9][a-z0-9_-]{0,63}$"
_NAME = re.compile(SCORE_PATTERN.strip("^$"))
_DECLARED = "{churn_risk: {description: Will not order again.}}"
_MAX_DESCRIPTION = 2_000

#: Numbers from here on may be too large for a float.
_LARGE = 10**300

Sided = ScoreNode | RfmNode


def read_rfm_or_hysteresis(node: Reader) -> RfmNode | Hysteresis:
    """Parse an ``rfm`` node."""
    form = node.at("rfm")
    if not _has_sides(form):
        return read_rfm_node(form)
    sided = partial(_hysteresis, form, read_rfm_node)
    found: Hysteresis = form.gather(partial(form.only, *SIDES), sided)[-1]
    return found


def read_score(node: Reader) -> ScoreNode | Hysteresis:
    """Parse a ``score`` node."""
    figure, value = node.at("score"), node.raw.get("of")
    model = bound_model(figure, value)

    def score(form: Reader) -> ScoreNode:
        found = ScoreNode(figure.raw, form.predicate(), model, value)
        check_lift(form, found)
        return found

    def sides() -> ScoreNode | Hysteresis:
        return _hysteresis(node, score) if _has_sides(node) else score(node.at("is"))

    def one_kind() -> None:
        if _has_sides(node) and "is" in node:
            node.at("is").fail("expected either is, or enter and exit")

    name, of = partial(read_score_name, node.at("score")), partial(read_score_of, node)
    found: ScoreNode | Hysteresis = node.gather(one_kind, name, of, sides)[-1]
    return found


def check_lift(form: Reader, node: ScoreNode) -> None:
    """Check that the value that draws a customer most, a text, is not tested as a number."""
    sided = not form.path.endswith(".is")
    if is_affinity(node.name) and node.of is None and (sided or numbers_in([node.test])):
        form.fail(
            "expected of, such as {score: affinity.category, of: shoes, is: {gte: 2}}: without a value, "
            "the score is the one that draws the customer most, a text"
        )


def is_affinity(name: Any) -> bool:
    """Return whether a score is an affinity.

    >>> is_affinity("affinity.category"), is_affinity("affinity"), is_affinity("affinity.A b")
    (True, False, False)
    """
    return (
        isinstance(name, str) and name.startswith(AFFINITY) and bool(_NAME.fullmatch(name[len(AFFINITY) :]))
    )


def read_score_of(form: Reader) -> str | None:
    """Read the key ``of`` beside ``score``: the value whose affinity is read."""
    if "of" not in form:
        return None
    at = form.at("of")
    if not is_affinity(form.raw.get("score")):
        at.fail("unknown key: only the scores affinity.PROPERTY are of a value")
    if not at.text():
        at.fail("expected a value, got an empty text")
    return at.text()


def read_score_name(form: Reader) -> str:
    """Read the name of a score: of a standard one, of one that has a model, or that the file declares."""
    context = form.context
    if context.scores is None:
        return form.text()
    models = (name for name, each in context.models.items() if each.kind != POPULATION)
    known = (*SCORERS, *STANDARD_SCORES, *context.scores, *models)
    name = form.text() if is_affinity(form.raw) else form.known("score", dict.fromkeys(known))
    if name not in SCORERS and name not in context.scores and not context.published:
        _warn_of_missing_model(form, name)
    return name


def _warn_of_missing_model(form: Reader, name: str) -> None:
    found = scored(name, form.context.models)
    if found is None:
        form.warn(f"no model of {' and '.join(models_of(name))} yet: no customer has this score")
    elif found.formula is None:
        form.warn(f"the model is {found.status}: no customer has this score: {'; '.join(found.reasons)}")
    elif isinstance(found.formula, OwnScore) and found.formula.problem:
        form.warn(f"{found.formula.problem}; the segment is left out where that is so")


def bound_model(form: Reader, of: str | None = None) -> Scored | None:
    """Return what a rule holds of the models in force of the score that a form names."""
    name = form.raw
    if not isinstance(name, str) or name in SCORERS or _is_no_score(form, name):
        return None
    found = scored(name, form.context.models, of)
    if found is not None and isinstance(found.formula, AffinityScore) and not form.context.published:
        _warn_of_missing_share(form, found.formula)
    return found


def _is_no_score(form: Reader, name: str) -> bool:
    """Return whether a model of this name has edges only, which is reported as an unknown score."""
    found = form.context.models.get(name)
    return found is not None and found.kind == POPULATION and not is_affinity(name)


def _warn_of_missing_share(form: Reader, score: AffinityScore) -> None:
    if not score.measured:
        form.warn(
            "the population is not measured yet, so no customer has this score; run "
            f"`segops models refresh {form.raw}`"
        )
    elif not score.shares:
        form.warn(f"{score.of!r} is none of the values with a share: no customer has this score")


def read_scores(raw: Any, path: str, context: Context) -> list[str]:
    """Parse a ``scores`` block: the names of declared scores. Raises DefinitionError with every mistake.

    >>> read_scores({"churn_risk": {"description": "Will leave."}}, "scores", Context())
    ['churn_risk']
    """
    block = Reader(raw, path, context)
    if not isinstance(raw, dict) or not raw:
        block.fail(f"expected a map of names to descriptions, such as {_DECLARED}")
    block.gather(*(partial(_declared, block, name) for name in raw))
    return list(raw)


def _declared(block: Reader, name: Any) -> None:
    form = block.at(name)
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        form.fail("expected a name of at most 64 lower-case letters, digits, hyphens and underscores")
    if not isinstance(form.raw, dict):
        form.fail(f"expected a map, such as {_DECLARED}, got {form.raw!r}")
    form.only("description")
    if "description" in form:
        _check_description(form.at("description"))
    if name not in SCORERS and not is_ready(scored(name, block.context.models)):
        form.warn("declared, not fitted yet: no customer has this score")


def _check_description(form: Reader) -> None:
    if len(form.text()) > _MAX_DESCRIPTION:
        form.fail(f"expected at most {_MAX_DESCRIPTION:,} characters, got {len(form.raw):,}")


def _has_sides(form: Reader) -> bool:
    return isinstance(form.raw, dict) and any(side in form for side in SIDES)


def _hysteresis(form: Reader, read: Callable[[Reader], Sided]) -> Hysteresis:
    present = [side for side in SIDES if side in form]
    *_, enter, exit = form.gather(
        partial(_check_not_negated, form),
        partial(_check_complete, form),
        *(partial(read, form.at(side)) for side in present),
    )
    if isinstance(enter, RfmNode) and isinstance(exit, RfmNode) and enter.rfm != exit.rfm:
        form.fail("expected one grid in enter and exit, got two")
    common = _COMMON[type(enter)](enter, exit)
    if common is not None:
        form.fail(f"enter and exit both hold for {common}")
    return Hysteresis(enter, exit)


def _check_not_negated(form: Reader) -> None:
    if form.context.negations:
        form.fail(_NEGATED)


def _check_complete(form: Reader) -> None:
    for side in SIDES:
        if side not in form:
            form.fail(f"missing {side}: enter and exit go together")


def _common_score(enter: ScoreNode, exit: ScoreNode) -> str | None:
    if enter.test.holds(None, 0):
        return "a missing score, which counts as exit"
    number = some_number([Requirement(enter.test), Requirement(exit.test)])
    if number is None:
        return None
    return f"{float(number):g}" if abs(number) < _LARGE else str(number)


def _common_digits(enter: RfmNode, exit: RfmNode) -> str | None:
    both = (each for each in enter.rfm.cells() if enter.fits(each) and exit.fits(each))
    texts = (f"recency {each.recency}, frequency {each.frequency}, monetary {each.monetary}" for each in both)
    return next(texts, None)


#: Node -> a value, in words, that satisfies both enter and exit, or None. A missing value counts as exit.
_COMMON: dict[type, Callable[[Any, Any], str | None]] = {ScoreNode: _common_score, RfmNode: _common_digits}
