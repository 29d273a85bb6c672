"""Doubts: words that look like a condition, but say what customers may do, or name a score that is none."""

from __future__ import annotations

import re
from typing import Any, Final

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
        elif item.kind == "E" and at and _where_meant(items[at - 1], item, context):
            found.append(Item("V", _where_meant(items[at - 1], item, context), item.first, item.last))
        elif item.kind == "P" and at and _is_other_score(items[at - 1], item, context):
            found.append(item.as_kind("UNK"))
        else:
            found.append(item)
    return found


def _says_nothing(items: list[Item], at: int, context: Context) -> bool:
    """Whether a vague word only announces what follows it: "just ordered today", "big spenders over 1000"."""
    item, rest = items[at], [each.kind for each in items[at + 1 : at + 3]]
    following = items[at + 1] if at + 1 < len(items) else None
    if item.kind == "E" and following is not None and context.tokens[item.first].stem == _USE:
        return item.first == item.last and _is_owned(following, item, context)
    if item.kind == "UNK" and context.tokens[item.first].norm == "new" and following is not None:
        return following.kind == "E" and following.value.count is None and not following.other.get("P")
    if item.kind == "ONLY":
        return not at and context.tokens[item.first].norm == "just" and rest == ["E", "W"]
    return item.kind == "VAGUE" and item.value[0] == "amount" and rest == ["SPEND", "Q"]


_USE: Final = stem("use")


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
    kinds = [item.kind for item in people]
    if kinds not in (["G", "AND", "G"], ["G", "AND", "V"], ["V", "AND", "G"]):
        return []
    named = [_is_plural(item, context) or _follows(item, context) for item in people[::2]]
    before = context.tokens[people[2].first - 1].norm
    return [people[1].as_kind("EITHERBOTH")] if all(named) and before == "and" else []


def _follows(item: Item, context: Context) -> bool:
    """Whether a noun of people in the plural comes after a word: "gold members"."""
    after = context.tokens[item.last + 1 : item.last + 2]
    return bool(after) and after[0].norm in ("members", "customers", "users", "people", "subscribers")
