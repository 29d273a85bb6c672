"""Rules of predictions: scores that say how far they look ahead, and what is likely without a number."""

from __future__ import annotations

from typing import Final

from segops.studio.durations import WindowSpan
from segops.studio.items import Item, Reduced, Rule, one
from segops.studio.meanings import FORECAST, Field, horizon_ms
from segops.studio.measures import measured, noted
from segops.studio.phrases import Context

#: What a window may say of a prediction: "within 24 hours", "in the next week".
_WINDOWS: Final = ("within", "next", "in")
#: Of these the longest is meant where no time is said: "lifetime value".
_LIFETIME: Final = "ltv_"
#: Words that together say that something is more likely than not.
_LIKELY: Final = (
    frozenset(("likely",)),
    frozenset(("probable",)),
    frozenset(("expected", "to")),
    frozenset(("predicted", "to")),
    frozenset(("at", "risk")),
)


def _forecasts(item: Item) -> list[str]:
    return [field.name for field in item.value if field.owner == FORECAST]


def _chosen(item: Item, name: str, *others: Item) -> Item:
    marks = tuple(mark for each in others for mark in each.marked("score"))
    last = max(item.last, *(each.last for each in others)) if others else item.last
    return Item("P", (Field("score", name),), item.first, last, (*item.marks, *marks))


def _ahead(found: list[Item], _context: Context) -> Reduced:
    """Take the score that looks as far ahead as the request says: "likely to buy in 24 hours"."""
    field, time = one(found, "P"), one(found, "W")
    said = time.value
    if not isinstance(said, WindowSpan) or said.kind not in _WINDOWS or said.op or said.further_ms:
        return None
    name = next((each for each in _forecasts(field) if horizon_ms(each) == said.length_ms), None)
    if name is None:
        return None
    between = [each for each in found if each not in (field, time)]
    return [_chosen(field, name, time), *between]


def _lifetime(found: list[Item], context: Context) -> Reduced:
    """Read a number of the lifetime value that looks farthest ahead."""
    field = one(found, "P")
    names = _forecasts(field)
    if not names or not all(each.startswith(_LIFETIME) for each in names):
        return None
    chosen = _chosen(field, max(names, key=lambda each: horizon_ms(each) or 0))
    return measured([chosen if each is field else each for each in found], context)


def _likely(found: list[Item], context: Context) -> Item | None:
    """Read what is likely, of a score for which the catalogue says from where on that is."""
    field = found[-1]
    words = {token.norm for token in context.tokens[field.first : field.last + 1]}
    if not any(each <= words for each in _LIKELY):
        return None
    for each in field.value:
        kind = context.catalogue.scores.get(each.name) if each.owner == "score" else None
        if kind is not None and kind.likely:
            marks = (*field.marked("score"), *field.marked("is"))
            return noted(found, {"score": each.name, "is": {"gte": kind.likely}}, marks)
    return None


#: Rules that take the time of a prediction before it is taken for that of an event.
FORECASTS: Final = (
    Rule("P W", _ahead),
    Rule("P Q W", _ahead),
    Rule("P Q", _lifetime),
    Rule("Q P", _lifetime),
)
#: Rules of what is left without a number.
LIKELY: Final = (Rule("P", _likely),)
