"""Checking the nodes that look at a figure, ``score`` and ``rfm``: with one test, or with hysteresis.

Hysteresis is ``enter`` and ``exit``: both are there, no value satisfies both, and no ``not`` is above them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from segops.core.rules.analysis.contradictions import cells
from segops.core.rules.analysis.satisfiability import Claim, some_number
from segops.core.rules.model import Hysteresis, RfmNode, ScoreNode
from segops.core.rules.parsing.predicates import check_test
from segops.core.rules.parsing.rfm import check_digits, check_tiers
from segops.core.rules.parsing.sequences import Reporter
from segops.core.scoring.base import SCORERS
from segops.core.scoring.rfm import Rfm

SIDES = ("enter", "exit")
_NEGATED = "enter and exit cannot stand under not: what lets a customer in could then put them out"

#: A number from which on no float may be near.
_LARGE = 10**300

Sided = ScoreNode | RfmNode
Form = Mapping[str, Any]


class Checking(Reporter, Protocol):
    """What checks a rule, as far as these nodes need it."""

    rfm: Rfm
    negations: int

    def keys(self, raw: Form, path: str, *allowed: str) -> None:
        """Refuse every key that is not allowed."""

    def attempt(self, path: str, check: Callable[..., Any], *args: Any) -> Any:
        """``check(*args)``, or None with its refusal noted."""


def check_rfm_node(checker: Checking, raw: Form, path: str) -> RfmNode | Hysteresis | None:
    """The checked form of an ``rfm`` node; None when something was refused."""
    checker.keys(raw, path, "rfm")
    form, inner = raw["rfm"], f"{path}.rfm"

    def rfm_is(form: Any, path: str) -> RfmNode | None:
        if isinstance(form, dict):
            tests = checker.attempt(path, check_digits, form)
            return None if tests is None else RfmNode(checker.rfm, (), tests)
        tiers = checker.attempt(path, check_tiers, form, checker.rfm)
        return None if tiers is None else RfmNode(checker.rfm, tiers)

    if not _has_sides(form):
        return rfm_is(form, inner)
    checker.keys(form, inner, *SIDES)
    return _hysteresis(checker, form, inner, rfm_is)


def check_score(checker: Checking, raw: Form, path: str) -> ScoreNode | Hysteresis | None:
    """The checked form of a ``score`` node; None when something was refused."""
    sided = _has_sides(raw)
    if sided and "is" in raw:
        checker.refuse(f"{path}.is", "a score has is, or enter and exit")
    checker.keys(raw, path, "score", "is", *SIDES)
    known = raw["score"] in tuple(SCORERS)
    if not known:
        checker.refuse(f"{path}.score", f"there is no score {raw['score']!r}; here: {', '.join(SCORERS)}")

    def score_is(form: Any, path: str) -> ScoreNode | None:
        test = checker.attempt(path, check_test, form)
        return ScoreNode(raw["score"], test) if known and test is not None else None

    if not sided:
        return score_is(raw.get("is"), f"{path}.is")
    return _hysteresis(checker, raw, path, score_is)


def _has_sides(raw: Any) -> bool:
    return isinstance(raw, dict) and any(side in raw for side in SIDES)


def _hysteresis(
    checker: Checking, raw: Mapping[str, Any], path: str, check: Callable[[Any, str], Sided | None]
) -> Hysteresis | None:
    """The checked form of ``enter`` and ``exit``, each read by ``check``."""
    if checker.negations:
        checker.refuse(path, _NEGATED)
    missing = [side for side in SIDES if side not in raw]
    if missing:
        checker.refuse(path, f"{missing[0]} is missing: enter and exit go together")
    enter, exit = (check(raw[side], f"{path}.{side}") if side in raw else None for side in SIDES)
    if enter is None or exit is None:
        return None
    common = _COMMON[type(enter)](enter, exit)
    if common is not None:
        checker.refuse(path, f"enter and exit both hold for {common}")
        return None
    return Hysteresis(enter, exit)


def _common_score(enter: ScoreNode, exit: ScoreNode) -> str | None:
    if enter.test.holds(None, 0):
        return "a missing score, which always counts as exit"
    number = some_number([Claim(enter.test), Claim(exit.test)])
    if number is None:
        return None
    return f"{float(number):g}" if abs(number) < _LARGE else str(number)


def _common_digits(enter: RfmNode, exit: RfmNode) -> str | None:
    both = (digits for digits in cells(enter.rfm) if enter.fits(digits, 0) and exit.fits(digits, 0))
    texts = (f"recency {each.recency}, frequency {each.frequency}, monetary {each.monetary}" for each in both)
    return next(texts, None)


#: Node -> a value that satisfies enter and exit, in words; None if there is none. Missing counts as exit.
_COMMON: dict[type, Callable[[Any, Any], str | None]] = {ScoreNode: _common_score, RfmNode: _common_digits}
