"""All values of a property: "used every feature", "viewed products in all categories"."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Final

from segops.studio.clauses import Clause
from segops.studio.items import Item
from segops.studio.meanings import Field
from segops.studio.phrases import Context
from segops.studio.words import stem

_EVERY: Final = frozenset(("every", "all", "each"))
_WORDS_BEFORE: Final = 4


def every_value(items: list[Item], context: Context) -> list[Item]:
    """Read "used every feature" as that many different values of the property."""
    found: list[Item] = []
    while items:
        event, *rest = items
        items = rest
        said = [item for item in rest[:2] if item.kind in ("Q", "P")]
        prop, noun = _every(event, said, context)
        values = context.schema.kind(event.value.names, prop).values if prop else ()  # type: ignore[union-attr]
        number = next((item for item in said if item.kind == "Q" and item.first < noun), None)
        if values and (number is None or number.value.ops[0][1] == len(values)):
            taken = [item for item in said if item.first <= noun or _is_once(item)]
            found.append(_distinct(event, taken, prop, len(values)))
            items = rest[len(taken) :]
        elif values:
            found += [event.as_kind("UNK")]
        elif _is_of_all(event, context):
            found.append(event.as_kind("VAGUE", ("often", context.text(event))))
        else:
            found.append(event)
    return found


def _every(event: Item, said: list[Item], context: Context) -> tuple[str, int]:
    """Return the property of an event that all values are asked of, and the token of its name."""
    if event.kind != "E" or not _is_plain(event.value):
        return "", 0
    for at in (
        *(last for _, last, key in event.marks if key == "did"),
        *(item.last for item in said if item.kind == "P"),
    ):
        before = {token.norm for token in context.tokens[max(event.first, at - _WORDS_BEFORE) : at]}
        prop = next((name for name in _choices(event.value, context) if _is_called(name, at, context)), "")
        if prop and before & _EVERY:
            return prop, at
    return "", 0


def _is_of_all(event: Item, context: Context) -> bool:
    """Whether an event is said of all that there are: "opened every email"."""
    if event.kind != "E" or not _is_plain(event.value):
        return False
    last = max((event.last, *(last for _, last, key in event.marks if key == "did")))
    inner = context.tokens[event.first + 1 : last]
    nouns = (token.norm for token, after in pairwise(inner) if after.norm not in _PERIODS)
    return not {*nouns, *(token.norm for token in inner[-1:])}.isdisjoint(_EVERY)


_PERIODS: Final = frozenset(("day", "week", "month", "quarter", "year", "time"))


def _is_plain(clause: Clause) -> bool:
    return clause.head == "did" and clause.test is None and not clause.where


def _choices(clause: Clause, context: Context) -> list[str]:
    kinds = context.catalogue.events[clause.names[0]]
    return [name for name, kind in kinds.items() if kind.values]


def _is_called(name: str, at: int, context: Context) -> bool:
    """Whether a token, of its own or as a phrase, names a property."""
    phrase = context.lexicon.phrases.get((context.tokens[at].stem,), {})
    return stem(name) == context.tokens[at].stem or Field("property", name) in phrase.get("P", ())


def _is_once(item: Item) -> bool:
    """Whether a number only says "at least once"."""
    return item.kind == "Q" and item.value.unit == "times" and item.value.ops[0] in (("gte", 1), ("eq", 1))


def _distinct(event: Item, taken: list[Item], prop: str, count: int) -> Item:
    marks = tuple((first, last, "distinct" if key == "did" else key) for first, last, key in event.marks)
    marks += tuple(mark for item in taken for mark in item.marked("is"))
    clause = replace(event.value, head="distinct", field=prop, test={"gte": count})
    last = max((event.last, *(item.last for item in taken)))
    return Item("E", clause, event.first, last, marks)
