"""The grammar: from items to one tree of conditions, or to the items that became nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from segops.studio.aggregates import AGGREGATES, EARLY
from segops.studio.clauses import Clause, Piece
from segops.studio.comparisons import COMPARED, COMPARED_LATE
from segops.studio.doubts import doubted, either_or_both
from segops.studio.durations import WindowSpan
from segops.studio.entire import every_value
from segops.studio.event_rules import EVENTS
from segops.studio.events import started
from segops.studio.fields import Values, literal_values
from segops.studio.forecasts import FORECASTS, LIKELY
from segops.studio.groups import grouped
from segops.studio.items import Item, Reduced, Rule, Unread, every, merged, one, reduce
from segops.studio.meanings import Field
from segops.studio.measures import MORE
from segops.studio.phrases import PHRASES, TEXTS, Context, prepared
from segops.studio.ratios import RATIOS
from segops.studio.restated import RENAMED, RESTATED
from segops.studio.sequences import turned
from segops.studio.traits import MEASURES, TRAITS
from segops.studio.windows import age_test
from segops.studio.words import load_words

#: Words that are no tier of RFM unless RFM is named.
_EVERYDAY_TIERS: Final = frozenset(("new", "loyal", "promising", "at_risk"))


def _number_of_list(found: list[Item], _context: Context) -> Item | None:
    said = found[0].value
    op, operand = said.ops[0]
    if said.unit or op not in ("eq", "gte", "gt") or isinstance(operand, tuple):
        return None
    return merged("KOF", int(operand) + (op == "gt"), found)


def _same_object(found: list[Item], context: Context) -> Reduced:
    """Read "opened or clicked an email": the first verb has the object of the second one."""
    verb, joint, event = found
    if context.tokens[verb.first].stem == context.tokens[event.first].stem:
        return None
    numbers = [*range(event.first, event.last + 1), *(first for first, _, _ in event.marks)]
    words = [
        context.tokens[at].stem
        for at in numbers
        if context.tokens[at].norm not in ("a", "an", "the", "their", "our", "some")
    ]
    head = context.tokens[verb.first].stem
    meaning = _with_object(head, words, event.kind, context)
    if meaning is None:
        return None
    value = Values((meaning,)) if event.kind == "V" else meaning
    return [Item(event.kind, value, verb.first, verb.last), joint, event]


def _with_object(head: str, words: list[str], kind: str, context: Context) -> Any | None:
    """Return what a word means before the words that follow another one."""
    for rest in (tuple(words[at:]) for at in range(1, len(words))):
        meanings = context.lexicon.phrases.get((head, *rest), {})
        if kind in meanings:
            return meanings[kind]
    return None


def _same_consent(found: list[Item], context: Context) -> Reduced:
    """Read "consents to email but not to SMS", and "reachable by email or SMS": a verb's second object."""
    value, word = found[0], found[-1]
    words = [context.tokens[at].stem for at in range(value.first, value.last + 1)]
    phrases = context.lexicon.phrases
    heads = (tuple(words[:at]) for at in range(len(words) - 1, 0, -1))
    keys = ((*head, context.tokens[word.first].stem) for head in heads)
    meaning = next((phrases[key]["V"] for key in keys if "V" in phrases.get(key, {})), None)
    if meaning is None:
        return None
    more = Item("V", Values((meaning,)), word.first, word.last)
    if found[1].kind in ("OR", "AND") and len(found) == 3:
        return [value, found[1], more]
    joint = Item("BUT", "", found[-2].first, found[-2].first)
    denial = Item("NEG", "", found[-2].first, found[-2].last)
    return [value, joint, denial, more]


def _same_object_after(found: list[Item], context: Context) -> Reduced:
    """Read "clicked fewer emails than they opened"."""
    event, verb = found[0], found[-1]
    numbers = [*range(event.first, event.last + 1), *(first for first, _, _ in event.marks)]
    words = [context.tokens[at].stem for at in numbers]
    meaning = _with_object(context.tokens[verb.first].stem, words, "E", context)
    return None if meaning is None else [*found[:-1], Item("E", meaning, verb.first, verb.last)]


def _verb_of_kinds(found: list[Item], context: Context) -> Reduced:
    """Read "opened at least 4 different campaigns": the verb of an event that is said of such things."""
    verb, noun = context.tokens[found[0].first].stem, context.tokens[found[-1].last].stem
    gaps = context.lexicon.gaps.get(verb, ())
    meaning = next(
        (each["E"] for head, end, each in gaps if (head, end) == ((verb,), (noun,)) and "E" in each), None
    )
    return None if meaning is None else [Item("E", meaning, found[0].first, found[0].last), *found[1:]]


def _any_of_list(found: list[Item], _context: Context) -> Item:
    return merged(found[0].kind, "", found)


def _city(found: list[Item], context: Context) -> Reduced:
    """Take a name after "in" or "from" for a city, if customers have one."""
    before, name = found
    token = context.tokens[name.first]
    said = context.tokens[name.first - 1].norm if name.first else ""
    fields = [Field("trait", "city")] if "city" in context.catalogue.traits else []
    if (
        not fields
        or not token.name
        or said not in ("in", "from", "of", "to")
        or token.norm in load_words()["regions"].split()
    ):
        return None
    if before.kind in ("E", "A", "P", "UNK", "V") and before.kind != "V":
        return None
    value = Item("V", literal_values([context.text(name)], fields), name.first, name.last)
    return [before, value] if before is not name else value


def _cities(found: list[Item], context: Context) -> Item | None:
    left, right = found[0], found[-1]
    if not context.tokens[right.first].name or not context.schema.is_text(left.value.fields()[0]):
        return None
    more = literal_values([context.text(right)], left.value.fields())
    return merged("V", replace(left.value, options=(*left.value.options, *more.options)), found)


def _last_ago(found: list[Item], _context: Context) -> Reduced:
    """Read "exactly one order, and it was more than 60 days ago": the age is of the same event."""
    event, time = one(found, "E"), one(found, "W")
    clause: Clause = event.value
    said = time.value
    if not isinstance(said, WindowSpan) or said.kind not in ("ago", "between") or clause.head != "did":
        return None
    test = age_test(said)
    if test is None or clause.negated:
        return None
    aged = Clause(clause.names, "last", where=clause.where, test=test)
    joint = Item("AND", "", found[-2].first, found[-2].first)
    return [event, joint, Item("E", aged, time.first, time.last, tuple(time.marked("is")))]


def _then_within(found: list[Item], _context: Context) -> Reduced:
    """Read "viewed a product and, within an hour, added it to the cart"."""
    (early, late), time = every(found, "E"), one(found, "W")
    said = time.value
    if (
        not isinstance(said, WindowSpan)
        or (said.text != "within" and said.kind != "gap")
        or late.value.gap
        or late.value.window
    ):
        return None
    step = replace(
        late,
        value=replace(late.value, gap=replace(said, kind="gap")),
        marks=(*late.marks, *time.marked("within")),
    )
    return [early, Item("THEN", "", time.first, time.first), step]


_LISTS: Final = (
    Rule("(EITHER|ANYOF) OFTHESE?", _any_of_list),
    Rule("Q OFTHESE Q?", _number_of_list),
    Rule("Q COLON", _number_of_list),
    Rule("ALLOF OFTHESE?", _any_of_list),
    Rule("UNK (OR|AND) (E|V|P)", _same_object),
    Rule("UNK Q DIFF (P|O)", _verb_of_kinds),
    Rule("E (MORETHAN|LESSTHAN) O? THAN UNK", _same_object_after),
    Rule("E Q ASMANY O? UNK", _same_object_after),
    Rule("V COMMA? (EXCEPT|BUT NEG|AND NEG) UNK", _same_consent),
    Rule("V (OR|AND) UNK", _same_consent),
)
_CITIES: Final = (
    Rule("(SUBJ|EVERYONE|REL|COMMA|AND|OR|NODE|V|START|WITH|NEG|BUT|R|G) UNK", _city),
    Rule("V (OR|AND) UNK", _cities),
)
_LATE: Final = (
    Rule("E COMMA? AND W", _last_ago),
    Rule("E COMMA? (AND|BUT) COMMA? W COMMA? E", _then_within),
)


def parsed(items: list[Item], context: Context) -> Piece:
    """Return the tree of a request. Raises Unread with the items that became nothing."""
    doubts = either_or_both(items, context)
    if doubts:
        raise Unread(doubts)
    read = _without_tiers(prepared(doubted(items, context), context))
    if (
        len(read) > 3
        and read[-1].kind == "RP"
        and all(item.kind in ("UNK", "VAGUE") for item in _before_bracket(read))
    ):
        read = read[len(_before_bracket(read)) + 1 : -1]
    colon = next((at for at, item in enumerate(read) if item.kind == "COLON"), None)
    if (
        colon is not None
        and not any(item.kind in ("OFTHESE", "ALLOF", "ANYOF") for item in read[:colon])
        and not (colon and read[colon - 1].kind == "Q")
    ):
        return _explained(read, colon, context)
    return _parsed(read, context)


def _before_bracket(items: list[Item]) -> list[Item]:
    """Return what stands before the first bracket, which may only name what is in it."""
    at = next((at for at, item in enumerate(items) if item.kind == "LP"), 0)
    return items[:at]


def _without_tiers(items: list[Item]) -> list[Item]:
    """Read words that may be a tier as vague ones, unless RFM is named."""
    if any(item.kind == "RFMW" for item in items):
        return items
    vague = (item.kind == "R" and item.value in _EVERYDAY_TIERS for item in items)
    return [
        item.as_kind("VAGUE", ("tier", str(item.value))) if is_vague else item
        for item, is_vague in zip(items, vague, strict=True)
    ]


def _explained(items: list[Item], colon: int, context: Context) -> Piece:
    """Read "flying solo: never invited anyone": what stands before the colon may be only a name."""
    before, after = items[:colon], items[colon + 1 :]
    if _goes_on(before, after):
        return _parsed([*before, *after], context)
    named = any(item.kind == "E" and item.value.count is not None for item in before)
    if named or not before:
        return _parsed(after, context)
    whole = _whole([*before, replace(items[colon], kind="COMMA"), *after], context)
    numbers = [item for item in before if item.kind in ("Q", "T")]
    times = [item for item in before if item.kind == "W"]
    if numbers and whole is None:
        raise Unread(numbers)
    try:
        piece = _parsed([*times, *after], context)
    except Unread:
        if whole is not None:
            return whole
        said = [item for item in before if item.kind not in ("UNK", "VAGUE")]
        if not said or len(said) == len(before):
            raise
        return _parsed([*said, *after], context)
    if whole is None:
        _check_lost(before, piece)
    return piece if whole is None or _is_said_again(whole, piece) else whole


def _whole(items: list[Item], context: Context) -> Piece | None:
    """Return the tree of both sides of a colon; None if they are not read together."""
    try:
        return _parsed(items, context)
    except Unread:
        return None


def _goes_on(before: list[Item], after: list[Item]) -> bool:
    """Whether what follows a colon denies the event before it: "Orders: none this year"."""
    denied = bool(after) and after[0].kind == "NEG" and after[-1].kind in ("NEG", "W")
    return denied and bool(before) and before[-1].kind == "E"


def _check_lost(before: list[Item], piece: Piece) -> None:
    """Raise Unread for values before a colon that the rule after it lacks."""
    lost = [item for item in before if item.kind == "V" and not _is_named_in(item, piece)]
    if lost and not any(item.kind == "E" for item in before):
        raise Unread(lost)


def _is_named_in(item: Item, piece: Piece) -> bool:
    """Whether a rule has one of the values that a word before the colon may mean."""
    return any(repr(value.value) in repr(piece.node) for option in item.value.options for value in option)


def _is_said_again(whole: Piece, piece: Piece) -> bool:
    """Whether both sides of a colon are about one trait: "no texts please: sms consent is off"."""
    trait = piece.node.get("trait")
    parts = whole.node.get("all", [])
    return trait is not None and sum(str({"trait": trait})[1:-1] in str(part) for part in parts) > 1


def _parsed(items: list[Item], context: Context) -> Piece:
    items = [Item("START", "", 0, -1), *items]
    items = reduce(items, (*RESTATED, *_LISTS, *PHRASES), context)
    items = reduce(items, _CITIES, context)[1:]
    items = started(reduce(items, (*TEXTS, *_CITIES[1:]), context))
    items = every_value(items, context)
    items = reduce(items, (*RATIOS, *RENAMED, *EARLY, *COMPARED), context, 1)
    items = reduce(items, FORECASTS, context, 1)
    items = reduce(items, MEASURES, context)
    items = reduce(items, (*EARLY, *AGGREGATES, *EVENTS), context)
    items = turned(_after(items))
    items = reduce(items, (*TRAITS, *AGGREGATES, *EVENTS), context)
    items = reduce(items, (*COMPARED_LATE, *MORE, *TRAITS, *EVENTS, *LIKELY, *_LATE), context)
    return grouped(_ended(items), context)


def _after(items: list[Item]) -> list[Item]:
    """Turn "after A, B" into "A, then B"."""
    at = next((at for at, item in enumerate(items) if item.kind == "AFTER"), None)
    if at is None:
        return items
    early = at + 1 if at + 1 < len(items) and items[at + 1].kind == "E" else None
    if early is None:
        return items
    then = items[at].as_kind("THEN", "")
    if at and items[at - 1].kind == "E":
        return [*items[: at - 1], items[early], then, items[at - 1], *items[early + 1 :]]
    late = next((n for n in range(early + 1, len(items)) if items[n].kind == "E"), None)
    if late is None:
        return items
    return [*items[:at], items[early], then, *items[late:]]


def _ended(items: list[Item]) -> list[Item]:
    """Leave out words of structure that are at the wrong end to join anything."""
    while items and items[-1].kind in ("ALREADY", "INROW", "THEN", "BETWEEN"):
        items = items[:-1]
    if len(items) > 1 and items[0].kind == "ONLY" and items[1].kind != "E":
        items = items[1:]
    return [item for item in items if item.kind not in ("OF", "ALREADY", "FILE", "RFMW")]


def everyone_but(items: list[Item]) -> bool:
    """Whether a request is of all customers and says no condition."""
    return (
        bool(items)
        and all(item.kind in ("EVERYONE", "SUBJ", "COMMA") for item in items)
        and bool(every(items, "EVERYONE"))
    )
