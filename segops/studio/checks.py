"""Checks of a candidate: the language's own parser, the linter, and back into English."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Final

from segops.core.errors import DefinitionError
from segops.core.rules import model
from segops.core.rules.analysis import lint
from segops.core.rules.parsing import Context, read_rule
from segops.core.rules.wording import label
from segops.core.scoring.rfm import Rfm
from segops.core.values import parse_instant
from segops.studio.catalogue import StudioCatalogue

_SOURCE: Final = "request"
_ROOT: Final = "rule"


@dataclass(frozen=True, slots=True)
class Checked:
    """What the checks say of a rule: its tree and its sentence, or why it is refused."""

    tree: model.Node | None
    sentence: str = ""
    impossible: str = ""
    always: str = ""
    invalid: str = ""


def checked(rule: dict[str, Any], catalogue: StudioCatalogue, now_ms: int | None = None) -> Checked:
    """Check a rule as ``segops check`` does; with ``now_ms``, dates of birth against ages, too.

    >>> catalogue = StudioCatalogue({"Order Completed": {}})
    >>> checked({"did": "Order Completed", "within": "30d"}, catalogue).sentence
    'did Order Completed within 30d'
    """
    try:
        tree = read_rule(rule, _ROOT, _context(catalogue))
    except DefinitionError as error:
        return _rejected(error)
    found = lint(tree, _ROOT)
    verdict = _of_probabilities(rule, catalogue)
    if verdict:
        return Checked(tree, **verdict)
    if _is_ageless(rule, now_ms):
        return Checked(tree, impossible="no age is that of all parts")
    if _is_below_zero(rule):
        return Checked(tree, impossible="an amount is never below 0")
    if found.never:
        return Checked(tree, impossible=found.never[0].reason)
    if found.always or _is_always(rule):
        return Checked(tree, always=found.always[0].reason if found.always else "a count is never below 0")
    return Checked(tree, sentence(tree))


def _of_probabilities(rule: Any, catalogue: StudioCatalogue) -> dict[str, str]:
    """Say whether a score from 0 to 1 is asked to be a number that it never, or always, is."""
    if isinstance(rule, list):
        return next(filter(None, (_of_probabilities(each, catalogue) for each in rule)), {})
    if not isinstance(rule, dict):
        return {}
    kind = catalogue.scores.get(str(rule.get("score", "")))
    if kind is None or kind.name != "probability" or not isinstance(rule.get("is"), dict):
        return next(filter(None, (_of_probabilities(each, catalogue) for each in rule.values())), {})
    test = read_rule(rule, _ROOT, _context(catalogue)).test  # type: ignore[union-attr]
    edges = {0.0, 1.0, *(number for number in _numbers(rule["is"]) if 0 <= number <= 1)}
    tried = edges | {(a + b) / 2 for a in edges for b in edges}
    held = {test.holds(number, 0) for number in tried}
    said = f"{rule['score']} is from 0 to 1"
    return {} if len(held) > 1 else {"always": said} if True in held else {"impossible": said}


def _is_ageless(rule: Any, now_ms: int | None) -> bool:
    """Whether the ages that a group asks of one date have none in common."""
    if isinstance(rule, list):
        return any(_is_ageless(each, now_ms) for each in rule)
    if not isinstance(rule, dict):
        return False
    ages: dict[str, list[tuple[float, float]]] = {}
    for node in rule.get("all", []):
        if "trait" in node and isinstance(node.get("is"), dict):
            ages.setdefault(node["trait"], []).extend(_ages(node["is"], now_ms))
    apart = any(
        max(low for low, _ in said) >= min(high for _, high in said) for said in ages.values() if said
    )
    return apart or any(_is_ageless(each, now_ms) for each in rule.values())


def _ages(test: dict[str, Any], now_ms: int | None) -> Iterator[tuple[float, float]]:
    """Yield the stretches of years, from and until before, that a test of a date of birth asks for."""
    years = test.get("age_in_years")
    for op, number in years.items() if isinstance(years, dict) else ():
        if op in _STRETCHES and isinstance(number, int | float):
            yield _STRETCHES[op](number)
    if isinstance(years, int | float):
        yield years, years + 1
    for op in ("before", "after"):
        at_ms = parse_instant(test[op]) if op in test else None
        if now_ms is not None and at_ms is not None and years is None:
            age = (now_ms - at_ms) / _YEAR_MS
            yield (age, inf) if op == "before" else (-inf, age)


_YEAR_MS: Final = 365.2425 * 86_400_000
#: A comparison of whole years -> the ages, from and until before, that meet it.
_STRETCHES: Final[Mapping[str, Callable[[float], tuple[float, float]]]] = {
    "gt": lambda years: (years + 1, inf),
    "gte": lambda years: (years, inf),
    "lt": lambda years: (-inf, years),
    "lte": lambda years: (-inf, years + 1),
    "eq": lambda years: (years, years + 1),
}


def _numbers(test: dict[str, Any]) -> list[float]:
    operands = (each if isinstance(each, list) else [each] for each in test.values())
    return [float(number) for operand in operands for number in operand if isinstance(number, int | float)]


def _context(catalogue: StudioCatalogue) -> Context:
    names = {name for name, *_ in Rfm().tiers}
    context = Context(_SOURCE, Rfm() if set(catalogue.rfm) <= names else None)
    context.scores = tuple(catalogue.scores)
    return context


def _rejected(error: DefinitionError) -> Checked:
    reasons = [issue.reason for issue in error.issues]
    never = next((reason for reason in reasons if "never holds" in reason), "")
    always = next((reason for reason in reasons if "always holds" in reason), "")
    return Checked(None, impossible=never, always="" if never else always, invalid=str(error))


def _is_always(rule: Any) -> bool:
    """Whether a part of a rule is a count that is never missed."""
    if isinstance(rule, dict):
        least = rule.get("count") or ("sum" in rule and rule.get("is"))
        return least == {"gte": 0} or any(map(_is_always, rule.values()))
    return isinstance(rule, list) and any(map(_is_always, rule))


def _is_below_zero(rule: Any) -> bool:
    """Whether a part of a rule is a total below 0."""
    if isinstance(rule, dict):
        return ("sum" in rule and rule.get("is") == {"lt": 0}) or any(map(_is_below_zero, rule.values()))
    return isinstance(rule, list) and any(map(_is_below_zero, rule))


_GROUPS: Final = {model.All: "and", model.Any: "or"}


def sentence(node: model.Node) -> str:
    """Return a rule in one English sentence, its leaves in the words of ``segops explain``.

    >>> tree = model.Not(model.All((model.InSegment("vip"), model.KnownFor(86_400_000))))
    >>> sentence(tree)
    'not (in segment vip and known for 1d)'
    """
    match node:
        case model.All(of=of) | model.Any(of=of):
            return f" {_GROUPS[type(node)]} ".join(map(_enclosed, of))
        case model.Not(of=child):
            return f"not {_enclosed(child)}"
        case model.AtLeast(k=k, of=of):
            return f"at least {k} of these: {', '.join(map(_enclosed, of))}"
    return label(node)


def _enclosed(node: model.Node) -> str:
    text = sentence(node)
    return f"({text})" if isinstance(node, model.All | model.Any | model.AtLeast) else text
