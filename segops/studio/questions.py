"""Questions: what the studio asks where a request says too little, or what the catalogue does not know."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from rapidfuzz import fuzz, process

from segops.studio.durations import WindowSpan
from segops.studio.fields import Values
from segops.studio.items import Item
from segops.studio.phrases import Context
from segops.studio.quantities import Quantity

_VAGUE: Final = {
    "period": 'Which period does "{word}" mean? Say a window in days: how long ago at most, such as "in the last 30 days".',
    "often": 'How often is "{word}", and in which period? Say how many times, such as "at least 3 times in the last 30 days".',
    "amount": 'How much is "{word}"? Say which value or amount, with a number, such as "spent over 250 euros in the last 90 days".',
    "activity": 'Which activity does "{word}" mean, and in which period? Say an event and how long ago or how many days, such as {event}.',
    "quality": 'What makes a customer "{word}"? Say which event, trait or score, with how much or how many times, in which period.',
    "close": 'How near is "{word}"? Say a distance and a place, such as "within 5 km of" {place}.',
    "age": 'Which age does "{word}" mean? Say a number of years, or how many days ago.',
    "likely": 'How likely is "{word}"? Say a score with a number, such as "at least 75 %".',
    "rank": "Which value is the favourite, of which property, and in which period of days?",
    "tier": 'Does "{word}" mean the RFM tier of that name ("RFM {word}")? If not, which event or score, how much, and in which period of days?',
}
_UNCLEAR: Final = (
    'Which period does "{text}" mean: the calendar {unit}, or the last {days} days? Say "in the last {days} days", '
    '"this {unit}", or from which date to which, such as "since 1 October".'
)
_DAYS: Final = {"week": 7, "month": 30, "quarter": 90, "year": 365}
#: Kinds of items -> what is asked if one is left.
_LEFT: Final = {
    "Q": 'What is "{text}" of: how many times, which amount or which property?',
    "W": 'Which event or date does "{text}" belong to?',
    "T": 'Which period does "{text}" mean: since that day, before it, or the day itself? Say from which date to which, or how many days.',
    "V": 'Which event or field does "{text}" belong to? {hint}',
    "P": 'What is asked of "{text}": which value, or that it is there at all?',
    "A": 'How much is meant by "{text}": which amount, such as "over 250"?',
    "EITHERBOTH": 'Does "{text}" join two groups of which customers are in both, or in either? Say "both … and …", or "… or …".',
    "NEG": 'What is denied by "{text}"?',
    "DIFF": "Different values of which property, and how many?",
    "MOST": "Most of which property, or compared with what? A rule ranks no customers: say how many.",
    "L": 'How near to "{text}"? Say a distance, such as "within 5 km of".',
    "KOF": "Which conditions, and how many of them, does the list have?",
    "LIT": 'Which property has the text "{text}"?',
    "STAGE": "By which event, and in which period of days?",
    "CHANGE": "Which trait changed, and from which value to which?",
    "SINCE": "Since when, or since which event?",
    "ONLY": 'Only what is meant by "{text}": exactly how many times, or nothing else?',
    "DIGIT": 'Which digit, from 1 to 5, of "{text}"?',
}
_ORDER: Final = ("UNK", "VAGUE", "V", "W", "LIT")
_NAMES: Final = 3


def question(items: Sequence[Item], context: Context) -> str:
    """Return the question that the first important of some items without a meaning calls for."""
    ranked = sorted(
        items, key=lambda item: (_ORDER.index(item.kind) if item.kind in _ORDER else len(_ORDER), item.first)
    )
    if not ranked:
        return 'Which customers? Say an event, a trait, a score or a segment, such as "bought twice in the last 30 days".'
    foreign = next((item for item in ranked if _is_foreign(item, context)), None)
    if foreign is not None:
        return _FOREIGN.format(own=context.catalogue.currency, text=context.text(foreign))
    item = ranked[0]
    date = next((each for each in ranked if each.kind == "T"), None)
    if item.kind == "VAGUE" and item.value[0] == "close" and date is not None:
        item = date
    text = context.text(item)
    if item.kind == "VAGUE":
        return _vague(item, context)
    if item.kind == "UNK":
        asked = unknown(_unknown_text(items, item, context), context, beside=_beside(item, context))
        return asked + _values_beside(items, context)
    if item.kind == "W" and isinstance(item.value, WindowSpan) and item.value.kind == "unclear":
        return unclear(item.value.text)
    return _LEFT.get(
        item.kind, 'What does "{text}" mean here? Which event, trait or score, and which number?'
    ).format(text=text, hint=_hint(item, context) if item.kind == "V" else "")


_FOREIGN: Final = (
    'Amounts are in {own}: how much is "{text}" in that currency, or which currency property is meant?'
)


def _is_foreign(item: Item, context: Context) -> bool:
    currency = item.value.currency if isinstance(item.value, Quantity) else ""
    return currency not in ("", context.catalogue.currency)


def _values_beside(items: Sequence[Item], context: Context) -> str:
    """Say which values a choice has that is named beside an unknown word."""
    fields = [field for item in items if item.kind == "P" for field in item.value if field.owner == "trait"]
    known = ((field.name, context.schema.trait(field.name).values) for field in fields)
    return "".join(f" {name} is one of {', '.join(values)}." for name, values in known if values)


def _vague(item: Item, context: Context) -> str:
    kind, word = item.value
    event = next(iter(context.catalogue.events), "an event")
    place = next(iter(context.catalogue.places), "a place")
    return _VAGUE[kind].format(word=word, event=f'"{event} in the last 30 days"', place=place)


def _unknown_text(items: Sequence[Item], item: Item, context: Context) -> str:
    """Return an unknown word with its unknown neighbours."""
    words = [context.text(item)]
    last = item.last
    for each in sorted(items, key=lambda other: other.first):
        if each.kind == "UNK" and each.first == last + 1:
            words.append(context.text(each))
            last = each.last
    return " ".join(words)


def _beside(item: Item, context: Context) -> str:
    around = context.tokens[max(0, item.first - 2) : item.last + 4]
    return " ".join(token.text for token in around)


def unclear(text: str) -> str:
    """Return the question about a period such as "last month"."""
    unit = next((unit for unit in _DAYS if unit in text), "month")
    if unit not in text:
        return f'Which days does "{text}" mean? Say how many days, or from which date to which.'
    shown = text if " " in text else f"this {text}"
    return _UNCLEAR.format(text=shown, unit=unit, days=_DAYS[unit])


def unknown(text: str, context: Context, beside: str = "") -> str:
    """Return the question about a word that the catalogue does not know, with the nearest names."""
    near = nearest_names(text, context)
    names = f" Nearest: {', '.join(near)}." if near else ""
    where = f' (in "{beside}")' if beside and beside != text else ""
    return f'Which event, trait, property or value is "{text}"{where}? The catalogue has none of that name.{names}'


def nearest_names(text: str, context: Context) -> list[str]:
    """Return the names of a catalogue that are most like a text."""
    names = list(dict.fromkeys(_all_names(context)))
    found = process.extract(text.lower(), names, scorer=fuzz.WRatio, processor=str.lower, limit=_NAMES)
    return [name for name, score, _ in found if score >= 45]


def _all_names(context: Context) -> Iterable[str]:
    catalogue = context.catalogue
    yield from catalogue.traits
    yield from catalogue.events
    yield from (name for kinds in catalogue.events.values() for name in kinds)
    yield from catalogue.scores
    yield from catalogue.segments
    yield from (value for kind in catalogue.traits.values() for value in kind.values)


def _hint(item: Item, context: Context) -> str:
    """Say which events have the property that a value is of."""
    fields = item.value.fields() if isinstance(item.value, Values) else ()
    props = [field.name for field in fields if field.owner == "property"]
    if not props:
        return ""
    owners = ", ".join(context.schema.owners(props[0]))
    others = ", ".join(
        name for name in context.catalogue.events if name not in context.schema.owners(props[0])
    )
    return f"It is a {props[0]} of {owners}; {others} have no {props[0]}."
