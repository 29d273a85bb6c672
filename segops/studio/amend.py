"""Follow-ups: "only in France", "make it 60 days", "exclude VIPs" change the rule at hand."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

from segops.studio.catalogue import StudioCatalogue
from segops.studio.clauses import Piece, combined, count_of, duration, test_of
from segops.studio.durations import WindowSpan
from segops.studio.items import Item
from segops.studio.lexer import Lexer
from segops.studio.lexicon import Lexicon, lexicon_of
from segops.studio.normalise import tokens_of
from segops.studio.numbers import numbered
from segops.studio.phrases import Context
from segops.studio.proposal import Proposal, Span, asked
from segops.studio.propose import NO_SYNONYMS, concluded, propose
from segops.studio.repair import repaired
from segops.studio.synonyms import Synonyms
from segops.studio.windows import window_keys

_WINDOWS: Final = ("within", "between", "since", "until", "calendar", "since_last")
#: What begins a follow-up that changes a number or a time.
_CHANGE: Final = re.compile(
    r"^\s*(?:please\s+)?(?:actually,?\s+|no,?\s+)?(?:make|change|set|turn|switch)\s+(?:it|that|this|the\s+\w+)\s*(?:to|into)?\s*",
    re.IGNORECASE,
)
_ADD: Final = re.compile(
    r"^\s*(?:please\s+)?(?:add|and|also|only|just|keep only|limit (?:it )?to|restrict (?:it )?to|but|with)\b[\s,:]*(?:those|customers|people|users)?\s*(?:who are|who|that are)?\s*",
    re.IGNORECASE,
)
_OR: Final = re.compile(
    r"^\s*(?:please\s+)?(?:or|or else|plus|include|also include|as well as)\b[\s,:]*(?:also\s+)?(?:those|customers|people|users)?\s*(?:who are|who|that are)?\s*",
    re.IGNORECASE,
)
_DROP: Final = re.compile(
    r"^\s*(?:please\s+)?(?:drop|forget|delete|remove|ignore|lose)\s+(?:the\s+)?(?:condition\s+(?:on|about|of)\s+)?(?P<rest>.+?)(?:\s+(?:condition|part|filter|rule))?\s*$",
    re.IGNORECASE,
)
_EXCLUDE: Final = re.compile(
    r"^\s*(?:please\s+)?(?:exclude|leave out|without|except|not|take out|minus)\b", re.IGNORECASE
)
_INSTEAD: Final = re.compile(r"\s*\binstead\b\s*\.?\s*$", re.IGNORECASE)
_WHICH: Final = 'Which part of the rule is meant? It has several that "{text}" could change: say the condition again as a whole.'


def amend(
    rule: dict[str, Any],
    text: str,
    catalogue: StudioCatalogue,
    now_ms: int,
    *,
    synonyms: Synonyms = NO_SYNONYMS,
) -> Proposal:
    """Return the rule as a follow-up changes it, a question about it, or a refusal. Never raises for any text.

    ``rule`` is a valid rule; it stays as it is. What the follow-up says is added with ``all``, or with ``any`` after
    "or"; a time or a number alone replaces the one of the rule, if it has only one.
    """
    found = _amended(rule, text, catalogue, now_ms, synonyms)
    return replace(found, understood=_placed(found.understood, text))


def _placed(spans: tuple[Span, ...], text: str) -> tuple[Span, ...]:
    """Return the spans of a part of a follow-up as those of the whole; none where the part was reworded."""
    for shift in range(len(text)):
        if all(text[span.start + shift : span.end + shift] == span.text for span in spans):
            return tuple(replace(span, start=span.start + shift, end=span.end + shift) for span in spans)
    return ()


def _amended(
    rule: dict[str, Any], text: str, catalogue: StudioCatalogue, now_ms: int, synonyms: Synonyms
) -> Proposal:
    dropped = _DROP.match(text)
    if dropped is not None:
        return _without(rule, dropped["rest"], catalogue, now_ms)
    changing = _CHANGE.match(text) is not None or _INSTEAD.search(text) is not None
    said = _INSTEAD.sub("", _CHANGE.sub("", text, count=1))
    context, items = _read(said, lexicon_of(catalogue, synonyms), now_ms)
    figures = [
        item for item in items if item.kind not in ("ONLY", "SUBJ", "WITH", "COMMA", "ORUP", "ATLEAST")
    ]
    if len(figures) == 1 and figures[0].kind in ("W", "Q"):
        return _refigured(rule, figures[0], said, context)
    if changing:
        return _replaced(rule, propose(said, catalogue, now_ms, synonyms=synonyms), catalogue, context)
    return _extended(rule, said, context, lambda part: propose(part, catalogue, now_ms, synonyms=synonyms))


def _read(text: str, lexicon: Lexicon, now_ms: int) -> tuple[Context, list[Item]]:
    tokens = numbered(repaired(tokens_of(text), lexicon))
    return Context(lexicon, tokens, now_ms, text), Lexer(tokens, lexicon, now_ms).read()


# -- adding ------------------------------------------------------------------------------------------------


def _extended(rule: dict[str, Any], text: str, context: Context, read: Callable[[str], Proposal]) -> Proposal:
    widened = _OR.match(text)
    if _EXCLUDE.match(text):
        part = read(text)
    elif widened:
        part = read(text[widened.end() :])
    else:
        part = read(_ADD.sub("", text, count=1))
    if part.outcome != "rule" or part.rule is None:
        return part
    return concluded(combined("any" if widened else "all", [Piece(rule), Piece(part.rule)]), context)


# -- figures -----------------------------------------------------------------------------------------------


def _leaves(node: Any) -> Iterator[dict[str, Any]]:
    """Yield the nodes of a rule that combine no others."""
    groups = ("all", "any", "at_least", "not")
    if not isinstance(node, dict):
        return
    head = next((key for key in groups if key in node), None)
    if head is None:
        yield node
        return
    below = node[head]["of"] if head == "at_least" else node[head]
    for child in below if isinstance(below, list) else [below]:
        yield from _leaves(child)


def _mapped(node: Any, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> Any:
    """Return a rule with each leaf changed; a leaf that becomes None is left out, and groups that lose all."""
    if "at_least" in node:
        of = [new for child in node["at_least"]["of"] if (new := _mapped(child, change)) is not None]
        return {"at_least": {"k": min(node["at_least"]["k"], len(of)), "of": of}} if of else None
    if "not" in node:
        inner = _mapped(node["not"], change)
        return None if inner is None else {"not": inner}
    head = next((key for key in ("all", "any") if key in node), None)
    if head is None:
        return change(node)
    below = [new for child in node[head] if (new := _mapped(child, change)) is not None]
    return below[0] if len(below) == 1 else {head: below} if below else None


def _refigured(rule: dict[str, Any], figure: Item, text: str, context: Context) -> Proposal:
    found = _change_of_time(rule, figure, context) if figure.kind == "W" else _change_of_number(rule, figure)
    if found is None:
        return asked(_WHICH.format(text=text.strip()))
    return concluded(Piece(found), context)


def _change_of_time(rule: dict[str, Any], figure: Item, context: Context) -> Any | None:
    said = figure.value
    if isinstance(said, WindowSpan) and said.kind in ("length", "for"):
        said = replace(said, kind="within")
    keys = window_keys(said, context.catalogue.zone)
    timed = [leaf for leaf in _leaves(rule) if any(key in leaf for key in _WINDOWS)]
    if keys and timed and len({str({key: leaf.get(key) for key in _WINDOWS}) for leaf in timed}) == 1:
        return _mapped(rule, lambda leaf: _with_window(leaf, keys) if leaf in timed else leaf)
    lengths = [leaf for leaf in _leaves(rule) if _operator(leaf) is not None]
    if isinstance(said, WindowSpan) and len(lengths) == 1 and not timed:
        return _mapped(
            rule, lambda leaf: _with_length(leaf, duration(said.length_ms)) if leaf in lengths else leaf
        )
    return None


def _with_window(leaf: dict[str, Any], keys: Any) -> dict[str, Any]:
    return {**{key: value for key, value in leaf.items() if key not in _WINDOWS}, **keys}


_LENGTHS: Final = ("in_next", "in_last", "older_than", "newer_than", "anniversary_in_next")


def _operator(leaf: dict[str, Any]) -> str | None:
    if "for" in leaf:
        return "for"
    test = leaf.get("is")
    return next((key for key in _LENGTHS if isinstance(test, dict) and key in test), None)


def _with_length(leaf: dict[str, Any], length: str) -> dict[str, Any]:
    key = _operator(leaf)
    return {**leaf, "for": length} if key == "for" else {**leaf, "is": {**leaf["is"], str(key): length}}


def _change_of_number(rule: dict[str, Any], figure: Item) -> Any | None:
    said = figure.value
    counted = [leaf for leaf in _leaves(rule) if "did" in leaf]
    measured = [leaf for leaf in _leaves(rule) if _is_measured(leaf)]
    if len(counted) == 1 and (said.unit == "times" or (said.unit == "" and not measured)):
        return _mapped(rule, lambda leaf: {**leaf, "count": count_of(said)} if leaf in counted else leaf)
    if len(measured) == 1 and said.unit != "times":
        (leaf,) = measured
        op = next(iter(leaf["is"]))
        scale = 100 if said.unit == "percent" else 1
        test = {op: test_of(said, scale)["eq"]} if said.bare else test_of(said, scale)
        return _mapped(rule, lambda each: {**each, "is": test} if each in measured else each)
    return None


def _is_measured(leaf: dict[str, Any]) -> bool:
    test = leaf.get("is")
    return (
        isinstance(test, dict)
        and len(test) == 1
        and all(isinstance(each, int | float) and not isinstance(each, bool) for each in test.values())
    )


# -- replacing and leaving out -----------------------------------------------------------------------------


def _subject(leaf: dict[str, Any]) -> tuple[str, str]:
    """Return what a leaf is about: its head and the name under it."""
    head = next(iter(leaf))
    return ("did" if head == "did_not" else head), str(leaf[head])


def _replaced(rule: dict[str, Any], part: Proposal, catalogue: StudioCatalogue, context: Context) -> Proposal:
    if part.outcome != "rule" or part.rule is None:
        return part
    new = part.rule
    alike = [leaf for leaf in _leaves(rule) if _subject(leaf) == _subject(new)]
    if len(alike) != 1:
        return asked(_WHICH.format(text=part.sentence))
    return concluded(Piece(_mapped(rule, lambda leaf: new if leaf in alike else leaf)), context)


def _without(rule: dict[str, Any], text: str, catalogue: StudioCatalogue, now_ms: int) -> Proposal:
    lexicon = lexicon_of(catalogue, NO_SYNONYMS)
    context, items = _read(text, lexicon, now_ms)
    names = {name for item in items for name in _names(item)}
    left_out = [leaf for leaf in _leaves(rule) if names & set(_named(leaf))]
    if len(left_out) != 1:
        return asked(_WHICH.format(text=text.strip()))
    rest = _mapped(rule, lambda leaf: None if leaf in left_out else leaf)
    if rest is None:
        return asked("Nothing would be left of the rule. Which condition is meant instead?")
    return concluded(Piece(rest), context)


def _names(item: Item) -> Iterator[str]:
    if item.kind == "E":
        yield from item.value.names
    elif item.kind == "P":
        yield from (field.name for field in item.value)
    elif item.kind == "V":
        yield from (value.field.name for value in item.value)
    elif item.kind in ("G", "R"):
        yield item.value
    elif item.kind == "W":
        yield from _WINDOWS


def _named(leaf: dict[str, Any]) -> Iterator[str]:
    for value in leaf.values():
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            yield from (each for each in value if isinstance(each, str))
    if isinstance(leaf.get("where"), dict):
        yield from leaf["where"]
