"""Doubts: words that look like a condition, but say what customers may do, or name a score that is none."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from typing import Any, Final

from segops.studio.durations import WindowSpan
from segops.studio.items import Item
from segops.studio.phrases import Context
from segops.studio.words import stem

#: What is said before a verb of what has not happened: "about to cancel", "may buy again".
_AHEAD: Final = re.compile(
    r"(?:.* |)((?:about|going|close|ready|due|set|bound|keen|eager|unlikely|likely|expected|predicted"
    r"|forecast|planning|plan|plans|intend|intends|intending|hope|hopes|hoping|want|wants|wish|wishes|like|aim|aiming|tempted"
    r"|trying|supposed) to"
    r"|may|might|could|would|will|should|shall)(?: well| probably| soon| not)?"
)
_WORDS_BEFORE: Final = 4
_ASKING: Final = frozenset(("i", "we", "you"))
#: Words that alone name a score, but after another noun are a part of the name of a different one.
_MEASURES: Final = frozenset(
    ("score", "scores", "propensity", "propensities", "probability", "likelihood", "risk", "risks", "chance")
)
_NAMING: Final = frozenset(
    ("E", "V", "G", "P", "O", "R", "L", "UNK", "SUBJ", "VAGUE", "A", "B", "AOV", "SPEND")
)


def doubted(items: list[Item], context: Context) -> list[Item]:
    """Return the items, those that only seem to be conditions as words without a meaning."""
    found = []
    for at, item in enumerate(items):
        if _says_nothing(items, at, context):
            continue
        ahead = _ahead(item, context) if item.kind in ("E", "B") else ""
        if ahead:
            found.append(item.as_kind("VAGUE", ("likely", f"{ahead} {context.text(item)}")))
        elif item.kind == "W" and at and _is_of_all(items[at - 1], item, context):
            found.append(replace(item, value=replace(item.value, kind="within", text="")))
        elif item.kind == "E" and at and _where_meant(items[at - 1], item, context):
            found.append(Item("V", _where_meant(items[at - 1], item, context), item.first, item.last))
        elif item.kind == "P" and at and _is_other_score(items[at - 1], item, context):
            found.append(item.as_kind("UNK"))
        else:
            found.append(item)
    return found


def _is_of_all(before: Item, time: Item, context: Context) -> bool:
    """Whether a deadline is that of all steps: "…, all within 3 days"."""
    said = context.tokens[before.first].norm if before.kind == "EVERYONE" else ""
    return said == "all" and isinstance(time.value, WindowSpan) and time.value.kind == "in"


def _is_early(item: Item, context: Context) -> bool:
    """Whether "first" is said of a verb rather than of the first event: "first viewed, then bought"."""
    token = context.tokens[item.first]
    return token.norm != token.stem and not token.norm.endswith("s")


def _says_nothing(items: list[Item], at: int, context: Context) -> bool:
    """Whether a vague word only announces what follows it: "just ordered today", "big spenders over 1000"."""
    item, rest = items[at], [each.kind for each in items[at + 1 : at + 3]]
    following = items[at + 1] if at + 1 < len(items) else None
    if item.kind == "TRUE" and context.tokens[item.last].norm == "on":
        after = context.tokens[item.last + 1].norm if rest[:1] == ["V"] else ""
        return after in ("the", "a", "our")
    if item.kind == "E" and following is not None and context.tokens[item.first].stem == _USE:
        return item.first == item.last and _is_owned(following, item, context)
    if item.kind == "UNK" and context.tokens[item.first].norm == "new" and following is not None:
        return following.kind == "E" and following.value.count is None and not following.other.get("P")
    if item.kind == "E" and at and context.tokens[item.first - 1].norm == "at":
        return items[at - 1].kind == "P" and context.tokens[items[at - 1].first].stem in _USING
    if item.kind == "FIRST" and following is not None and following.kind == "E":
        return _is_early(following, context) and any(each.kind == "THEN" for each in items[at:])
    if item.kind == "ONLY":
        return not at and context.tokens[item.first].norm == "just" and rest == ["E", "W"]
    return item.kind == "VAGUE" and item.value[0] == "amount" and rest == ["SPEND", "Q"]


_USE: Final = stem("use")
_USING: Final = frozenset(map(stem, ("use", "redeem", "apply", "enter")))


def _is_owned(value: Item, event: Item, context: Context) -> bool:
    """Whether what is used is of the customer rather than of the event: "using the free plan"."""
    kinds = [context.catalogue.events[name] for name in event.value.names]
    fields = [each.field for each in value.value] if value.kind == "V" else []
    owned = any(field.owner == "property" and field.name in kind for field in fields for kind in kinds)
    return any(field.owner == "trait" for field in fields) and not owned


def _where_meant(before: Item, event: Item, context: Context) -> Any:
    """Return the value that "was in a store" means after an event; None if it is an event itself."""
    if context.tokens[event.first].stem != stem("be") or before.kind not in ("E", "FIRST", "LAST", "Q"):
        return None
    numbers = sorted({*range(event.first, event.last + 1), *(first for first, _, _ in event.marks)})
    words = [context.tokens[at].stem for at in numbers if context.tokens[at].norm not in ("a", "the", "our")]
    return context.lexicon.phrases.get(tuple(words[1:]), {}).get("V")


def _ahead(item: Item, context: Context) -> str:
    """Return the words before a verb that say that it has not happened; empty if there are none."""
    norms = [token.norm for token in context.tokens[max(0, item.first - _WORDS_BEFORE) : item.first]]
    match = re.fullmatch(_AHEAD, " ".join(norms))
    if match is None or _ASKING & set(norms):
        return ""
    return match[1]


def _is_other_score(before: Item, item: Item, context: Context) -> bool:
    """Whether the noun before "score" makes it the name of a score that the catalogue lacks."""
    token = context.tokens[item.first]
    if item.first != item.last or token.norm not in _MEASURES or before.kind not in _NAMING:
        return False
    ends = max((before.last, *(last for _, last, _ in before.marks)))
    if ends != item.first - 1:
        return False
    if before.kind == "SUBJ":
        return not context.tokens[ends].norm.endswith("s")
    return not _is_own(before, item, context)


def _is_own(before: Item, item: Item, context: Context) -> bool:
    """Whether an event has the property that follows it: "NPS score"."""
    names = before.value.names if before.kind == "E" else ()
    owned = {field.name for field in item.value if field.owner == "property"}
    return any(owned & set(context.catalogue.events[name]) for name in names)


def _is_plural(item: Item, context: Context) -> bool:
    return item.kind in ("G", "V") and context.tokens[item.last].norm.endswith("s")


def either_or_both(items: list[Item], context: Context) -> list[Item]:
    """Return the "and" between two kinds of people at the beginning: they may be in both, or in either."""
    people = [item for item in items if item.kind not in ("EVERYONE", "SUBJ")][:3]
    union = _union(items, context)
    if union:
        return union
    kinds = [item.kind for item in people]
    if kinds not in (["G", "AND", "G"], ["G", "AND", "V"], ["V", "AND", "G"]):
        return []
    named = [_is_plural(item, context) or _follows(item, context) for item in people[::2]]
    before = context.tokens[people[2].first - 1].norm
    return [people[1].as_kind("EITHERBOTH")] if all(named) and before == "and" else []


def _union(items: list[Item], context: Context) -> list[Item]:
    """Return the "and" before a second noun of people: "gold members and anyone with 100 points"."""
    for at, (item, after) in enumerate(itertools.pairwise(items)):
        norms = [context.tokens[at].norm for at in range(after.first, after.last + 1)]
        named = item.kind == "AND" and after.kind in ("EVERYONE", "SUBJ") and norms[-1] in _OTHERS
        if named and any(each.kind not in ("SUBJ", "EVERYONE", "COMMA", "BOTH") for each in items[:at]):
            return [item.as_kind("EITHERBOTH")]
    return []


#: Nouns of people that begin another group after "and".
_OTHERS: Final = frozenset(("anyone", "anybody", "everyone", "everybody", "those", "people", "customers"))


def _follows(item: Item, context: Context) -> bool:
    """Whether a noun of people in the plural comes after a word: "gold members"."""
    after = context.tokens[item.last + 1 : item.last + 2]
    return bool(after) and after[0].norm in ("members", "customers", "users", "people", "subscribers")
