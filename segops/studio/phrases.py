"""First rules: values and fields that belong together, lists of values, what stands in brackets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from segops.studio.alternatives import is_of_last
from segops.studio.catalogue import StudioCatalogue
from segops.studio.contacts import is_field, may_be_field
from segops.studio.dates import DateSpan, DateWindow
from segops.studio.durations import WindowSpan
from segops.studio.fields import Schema, Values, literal_values
from segops.studio.items import Item, Reduced, Rule, every, merged, one
from segops.studio.lexicon import Lexicon
from segops.studio.meanings import Event, Field, Value
from segops.studio.normalise import Token
from segops.studio.words import load_table, stem


class Context:
    """What the rules of the grammar know besides the items."""

    def __init__(self, lexicon: Lexicon, tokens: list[Token], now_ms: int, request: str = "") -> None:
        self.lexicon, self.tokens, self.now_ms, self.request = lexicon, tokens, now_ms, request
        self.catalogue: StudioCatalogue = lexicon.catalogue
        self.schema = Schema(lexicon.catalogue)

    def text(self, item: Item) -> str:
        """Return an item as it was written."""
        first, last = self.tokens[item.first], self.tokens[item.last]
        return (
            first.text
            if first is last
            else " ".join(token.text for token in self.tokens[item.first : item.last + 1])
        )


def prepared(items: list[Item], context: Context) -> list[Item]:
    """Return the items with values as such, and without words that say nothing here."""
    changes = any(item.kind == "CHANGE" for item in items)
    found = []
    for at, item in enumerate(items):
        following = items[at + 1].kind if at + 1 < len(items) else ""
        if item.kind in ("FROM", "TO") and not changes:
            continue
        before = items[at - 1].kind if at else ""
        if item.kind == "COLON" and before == "P":
            continue
        if (
            item.kind == "BUT"
            and before in ("EVERYONE", "SUBJ")
            and len({each.kind for each in items[:at]} - {"EVERYONE", "SUBJ"}) == 0
        ):
            found.append(item.as_kind("EXCEPT"))
            continue
        if item.kind in ("SUBJ", "EVERYONE") and (item.kind == "SUBJ" or len(items) > 1):
            found += _customer_since(item, items[at + 1 : at + 2], context)
            continue
        if item.kind == "HAVE" or (item.kind, following) == ("WITH", "W"):
            if following in ("P", "Q", "V", "FN", "BOTH", "EITHER"):
                found.append(item.as_kind("WITH"))
            continue
        found.append(_read(item, context))
    return found


def _customer_since(item: Item, following: list[Item], context: Context) -> list[Item]:
    """Read "accounts older than a year": the date from which they are customers."""
    name = next((name for name in _SINCE if name in context.catalogue.traits), None)
    aged = (
        following and isinstance(following[0].value, WindowSpan) and following[0].value.kind in ("ago", "for")
    )
    return [Item("P", (Field("trait", name),), item.first, item.last)] if name and aged else []


#: The traits that hold the date on which a person became a customer.
_SINCE: Final = ("created_at", "signed_up_at", "signup_date", "registered_at", "customer_since")


def _read(item: Item, context: Context) -> Item:
    if item.kind == "V" and "P" in item.other and is_field(item, context.tokens):
        return item.as_kind("P", item.other["P"])
    if item.kind == "V":
        return replace(item, value=Values((item.value,)))
    if "V" in item.other:
        return replace(item, other={**item.other, "V": Values((item.other["V"],))})
    return item


# -- lists of values ---------------------------------------------------------------------------------------


def _is_named(value: Item, context: Context) -> bool:
    """Whether a value is said after the name of its field: "role is admin"."""
    words = {stem(word) for field in value.value.fields() for word in field.name.split("_")}
    return value.value.named or (value.first < value.last and context.tokens[value.first].stem in words)


def _both_values(found: list[Item], context: Context) -> Item | None:
    left, right = every(found, "V")
    joint = any(item.kind == "AND" for item in found)
    both = any(item.kind == "BOTH" for item in found) or left.value.both
    both = both or (joint and (_is_named(right, context) or _is_on_both(found, context)))
    options = (*left.value.options, *right.value.options)
    values = Values(options, joint or left.value.joint or right.value.joint, both)
    apart = [item.kind for item in found[-3:-1]] == ["COMMA", "OR"] and is_of_last(
        left, right, context.tokens
    )
    if apart or set(left.value.options) & set(right.value.options):
        return None
    if not values.fields() or left.value.bound or right.value.bound:
        return None
    return Item("V", values, found[0].first, right.last, (*left.marks, *right.marks))


def _is_on_both(found: list[Item], context: Context) -> bool:
    """Whether "on" is said of only one of two choices, or of both: "free and on the team plan"."""
    left, right = every(found, "V")
    choices = [
        field for field in left.value.fields() if field.owner == "trait" and _is_ranked(field, context)
    ]
    if not choices:
        return False
    follows = context.tokens[right.last + 1].stem if right.last + 1 < len(context.tokens) else ""
    names = {stem(word) for field in choices for word in field.name.split("_")}
    alone = any(item.kind == "P" for item in found[1:-1]) and follows not in names
    return _is_on(right, context) or (alone and _is_on(left, context))


def _is_on(value: Item, context: Context) -> bool:
    words = [token.norm for token in context.tokens[max(0, value.first - 2) : value.first]]
    return words[-1:] == ["on"] or words == ["on", "the"] or words == ["on", "a"]


def _listed_values(found: list[Item], context: Context) -> Item | None:
    """Join "gold, silver" with "or bronze" after it, which is a list already."""
    left, right = every(found, "V")
    if len(right.value.options) < 2:
        return None
    return _both_values([left, *found[1:-1], right], context)


def _both_tiers(found: list[Item], _context: Context) -> Item:
    left, right = every(found, "R")
    return merged("R", (*_tuple(left.value), *_tuple(right.value)), found)


def _tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


# -- a field beside its value ------------------------------------------------------------------------------


def _field_and_value(found: list[Item], context: Context) -> Item | None:
    field, value = one(found, "P"), one(found, "V")
    kept = value.value.only(field.value)
    texts = [each for each in field.value if context.schema.is_text(each)]
    if kept is None and (_is_placed(value, context) or (found[0] is value and _is_used(field, context))):
        return None
    if kept is None and found[0] is value and all(each.name.endswith("_id") for each in texts):
        return None
    if kept is None and field.last + 1 == value.first and all(each.owner == "trait" for each in texts):
        return None
    if texts:
        said = [_spelt(option, context.text(value)) for option in value.value.options]
        own = literal_values(said, texts)
        options = (
            zip(kept.options, own.options, strict=True) if kept else ((each, ()) for each in own.options)
        )
        kept = Values(
            tuple((*a, *b) for a, b in options), value.value.joint, value.value.both, value.value.bound
        )
    if kept is not None and found[0] is field:
        kept = replace(kept, named=True)
    return None if kept is None else merged("V", kept, found, value.marks)


def _is_placed(value: Item, context: Context) -> bool:
    """Whether a value is of what surrounds the field before it: "a coupon in the app"."""
    around = context.tokens[max(0, value.first - 2) : value.first + 1]
    words = [token.norm for token in around if token.norm not in ("a", "the", "our")]
    return not _PLACES.isdisjoint(words[-2:])


_PLACES: Final = frozenset(("in", "on", "at", "via", "through", "from", "by"))


def _is_used(field: Item, context: Context) -> bool:
    return context.tokens[field.first].stem in _USED


def _denied_value(found: list[Item], context: Context) -> Reduced:
    """Read "country is not France"."""
    before = context.tokens[found[0].first - 1].norm if found[0].first else ""
    if found[1].kind == "BUT" and before not in ("any", "every", "all"):
        return None
    if found[1].kind != "NEG" and any(field.owner != "trait" for field in found[0].value):
        return None
    value = _field_and_value([found[0], found[2]], context)
    return (
        None
        if value is None
        else [replace(found[1], kind="NEG", first=found[0].first), replace(value, first=found[2].first)]
    )


def _spelt(option: tuple[Value, ...], text: str) -> str:
    return next((str(value.value) for value in option if isinstance(value.value, str)), text)


def _field_and_text(found: list[Item], context: Context) -> Reduced:
    field = one(found, "P")
    country = _country(field, found[-1], context)
    if country is not None:
        return merged("V", country, found)
    texts = [each for each in field.value if context.schema.is_text(each)]
    if not texts or any(item.kind == "UNK" and len(context.text(item)) < 2 for item in found):
        return None
    if (
        texts[0].name.endswith("_id")
        and any(item.kind == "UNK" for item in found)
        and not _is_key(found, context)
    ):
        return None
    said = [
        item.value if item.kind == "LIT" else context.text(item) for item in every(found, "LIT", "UNK", "G")
    ]
    value = merged("V", literal_values(said, texts), found)
    owners = context.schema.owners(texts[0].name)
    if _is_used(field, context) and len(owners) == 1:
        return [Item("E", Event(owners), field.first, field.first), replace(value, first=field.first + 1)]
    return value


def _more_text(found: list[Item], context: Context) -> Item | None:
    """Read "tagged press or influencer"."""
    value, text = found[0], found[-1]
    field = value.value.fields()[0]
    listed = field.owner == "trait" and context.schema.trait(field.name).name == "list"
    if not listed and (field.owner == "trait" or found[1].kind == "AND" or not context.schema.is_text(field)):
        return None
    said = text.value if text.kind == "LIT" else context.text(text)
    more = literal_values([said], value.value.fields())
    joint = found[1].kind == "AND"
    return merged("V", Values((*value.value.options, *more.options), joint), found)


def _country(field: Item, text: Item, context: Context) -> Values | None:
    """Return the country of a code in capital letters: "country = FR"."""
    code = context.text(text)
    named = [
        each
        for each in field.value
        if each.owner == "trait" and context.schema.trait(each.name).name == "country"
    ]
    return literal_values([code], named) if named and code in load_table("countries.yaml") else None


#: Verbs of what one does with a coupon: they say that the event which has it happened.
_USED: Final = frozenset(map(stem, ("use", "redeem", "apply", "enter")))


def _is_key(found: list[Item], context: Context) -> bool:
    """Whether a text looks like an identifier rather than a word that nothing knows."""
    return any(character.isdigit() or character in "-_" for character in context.text(found[-1]))


def _listed_in_brackets(found: list[Item], context: Context) -> Item | None:
    """Read "in [gold, platinum]"."""
    values = every(found, "V")
    options = tuple(option for value in values for option in value.value.options)
    return _field_and_value(
        [found[0], replace(values[0], value=Values(options), last=found[-1].last)], context
    )


def _bound(kind: str) -> str:
    return {
        "ORUP": "up",
        "ATLEAST": "up",
        "ORDOWN": "down",
        "ATMOST": "down",
        "ABOVE": "above",
        "BELOW": "below",
    }[kind]


def _bounded(found: list[Item], context: Context) -> Item | None:
    value = one(found, "V")
    word = one(found, "ORUP", "ORDOWN", "ATLEAST", "ATMOST", "ABOVE", "BELOW")
    fields = [
        field for field in value.value.fields() if field.owner == "trait" and _is_ranked(field, context)
    ]
    kept = value.value.only(fields)
    if kept is None or len(kept.options) != 1:
        return None
    return merged("V", replace(kept, bound=_bound(word.kind)), found, value.marks)


def _is_ranked(field: Field, context: Context) -> bool:
    return context.schema.trait(field.name).name == "choice"


# -- brackets ----------------------------------------------------------------------------------------------


def _explained(found: list[Item], _context: Context) -> Item | None:
    """Take a duration or a date in brackets for what stands before them."""
    inner = found[-2]
    if inner.kind == "W":
        value = replace(inner.value, kind="within") if _is_length(inner.value) else inner.value
        return merged("W", value, found)
    return merged("W", DateWindow("since", inner.value.start_ms), found) if found[0].kind == "SINCE" else None


def _is_length(value: Any) -> bool:
    return isinstance(value, WindowSpan) and value.kind in ("length", "rate")


def _since_date(found: list[Item], _context: Context) -> Item | None:
    date = one(found, "T")
    return (
        merged("W", DateWindow("since", date.value.start_ms), found)
        if isinstance(date.value, DateSpan)
        else None
    )


def _neither(found: list[Item], context: Context) -> Reduced:
    """Read "neither export nor alerts" as one denial of both."""
    if context.tokens[found[0].first].norm != "neither" or found[1].value.fields()[:1] == ():
        return None
    if found[1].value.fields()[0].owner == "trait":
        return None
    both = _both_values([found[1], found[2].as_kind("OR", ""), found[3]], context)
    return None if both is None else [found[0], both]


def _first_words(found: list[Item], context: Context) -> Reduced:
    """Read "checked out jackets": of the meanings of a verb, the event that has the value."""
    *words, value = found
    head = tuple(context.tokens[item.first].stem for item in words)
    for begin, _, meanings in context.lexicon.gaps.get(head[0], ()):
        event = meanings.get("E")
        if begin == head and event and context.schema.test_of(event.names, value.value):
            return [Item("E", event, words[0].first, words[-1].last), value]
    return None


def _field_missing(found: list[Item], context: Context) -> Reduced:
    """Read "email is missing" and "email on file": the field rather than the consent."""
    value, word = found
    named = word.kind == "MISSING" or may_be_field(value, context.tokens)
    return [value.as_kind("P", value.other["P"]), word] if named and "P" in value.other else None


def _field_too(found: list[Item], context: Context) -> Reduced:
    """Read "phone and email": two fields rather than a consent."""
    value, field = one(found, "V"), one(found, "P")
    if not may_be_field(value, context.tokens) or any(each.owner != "trait" for each in field.value):
        return None
    return [item.as_kind("P", item.other["P"]) if item is value else item for item in found]


#: The rules, in their order.
PHRASES: Final = (
    Rule("(W|VAGUE|SINCE) UNK* LP (W|T) RP", _explained),
    Rule("SINCE UNK? T", _since_date),
    Rule("V (MISSING|FILE)", _field_missing),
    Rule("P (OR|AND) V", _field_too),
    Rule("V (OR|AND) P", _field_too),
    Rule("NEG V NEG V", _neither),
    Rule("UNK UNK V", _first_words),
    Rule("BOTH V AND V", _both_values),
    Rule("V (P )?COMMA? (OR|AND) V", _both_values),
    Rule("V COMMA V", _listed_values),
    Rule("V OR V", _both_values),
    Rule("R COMMA? (OR|AND) R", _both_tiers),
    Rule("R COMMA R", _both_tiers),
    Rule("ONLINE V", lambda found, _context: replace(found[1], first=found[0].first)),
    Rule("(ATLEAST|ABOVE|ATMOST|BELOW) V", _bounded),
    Rule("V P? (ORUP|ORDOWN)", _bounded),
    Rule("P LP V RP", _listed_in_brackets),
    Rule("P LP V COMMA V RP", _listed_in_brackets),
    Rule("P (NEG|EXCEPT|BUT) V", _denied_value),
    Rule("P WITH? V", _field_and_value),
    Rule("V P", _field_and_value),
)

#: Rules of texts that a catalogue does not list, once events have taken theirs.
TEXTS: Final = (
    Rule("P WITH? LIT", _field_and_text),
    Rule("LIT P", _field_and_text),
    Rule("P WITH? (UNK|G)", _field_and_text),
    Rule("V (OR|AND) (UNK|LIT)", _more_text),
)
