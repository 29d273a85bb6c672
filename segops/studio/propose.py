"""The studio: from a request in English to a rule, a question or a refusal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from segops.studio.catalogue import StudioCatalogue
from segops.studio.checks import checked
from segops.studio.clauses import Piece
from segops.studio.compounds import compounded
from segops.studio.grammar import everyone_but, parsed
from segops.studio.items import Item, Mark, Unread
from segops.studio.lexer import Lexer
from segops.studio.lexicon import lexicon_of
from segops.studio.normalise import tokens_of
from segops.studio.numbers import numbered
from segops.studio.phrases import Context
from segops.studio.proposal import FILLER, UNKNOWN, Proposal, Span, asked, refused
from segops.studio.questions import question
from segops.studio.refusals import NO_REQUEST, is_talk, refusal
from segops.studio.repair import repaired
from segops.studio.synonyms import Synonyms

#: The synonyms of the package alone.
NO_SYNONYMS: Final = Synonyms()

#: No sentence of people has as many parts; each takes a part of the time that an answer may take.
_MOST_ITEMS: Final = 160
#: What a mistake in a rule of the grammar raises; a request must not stop for it.
_MISTAKES: Final = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
_UNREADABLE: Final = "This request cannot be read. Which customers are meant, in other words?"
_LONG: Final = "Which customers are meant, in fewer words? This request has too many parts for one rule."
_ALWAYS: Final = (
    "always true: {reason}; a segment of all customers needs no rule. Which condition should they meet?"
)
_IMPOSSIBLE: Final = "impossible: no customer can satisfy it ({reason}); parts of it contradict each other"


def propose(
    text: str, catalogue: StudioCatalogue, now_ms: int, *, synonyms: Synonyms = NO_SYNONYMS
) -> Proposal:
    """Return the rule that a request means, a question about it, or a refusal. Never raises for any text.

    ``now_ms`` decides which day a date without a year is; the same arguments give the same answer.
    """
    try:
        return answered(text, catalogue, now_ms, synonyms)
    except _MISTAKES:
        return asked(_UNREADABLE)


def answered(
    text: str, catalogue: StudioCatalogue, now_ms: int, synonyms: Synonyms = NO_SYNONYMS
) -> Proposal:
    """Return what ``propose`` does, but let the studio's own mistakes through: for its tests."""
    lexicon = lexicon_of(catalogue, synonyms)
    tokens = compounded(tokens_of(text), text)
    spelt = numbered(repaired(tokens, lexicon))
    reason = refusal(tokens) or refusal(spelt)
    if reason or not tokens:
        return refused(reason or NO_REQUEST)
    context = Context(lexicon, spelt, now_ms, text)
    items = Lexer(spelt, lexicon, now_ms).read()
    return _answer(items, context)


def _answer(items: list[Item], context: Context) -> Proposal:
    if everyone_but(items):
        return refused(_ALWAYS.format(reason="every customer satisfies it"), _spans(context, (), ()))
    if not any(item.kind in _MEANINGFUL for item in items):
        unknown = [item for item in items if item.kind == "UNK" and not is_talk(context.tokens[item.first])]
        if not unknown:
            return refused(NO_REQUEST, _spans(context, (), items))
        if not any(_may_be_city(item, context) for item in unknown):
            return asked(question(unknown, context), _spans(context, (), unknown))
    if len(items) > _MOST_ITEMS:
        return asked(_LONG, _spans(context, (), items[_MOST_ITEMS:]))
    try:
        piece = parsed(items, context)
    except Unread as unread:
        return asked(question(unread.items, context), _spans(context, (), unread.items))
    return concluded(piece, context)


def _may_be_city(item: Item, context: Context) -> bool:
    before = context.tokens[item.first - 1].norm if item.first else ""
    return before in ("in", "from") and context.tokens[item.first].name


#: Kinds of items that say something about customers.
_MEANINGFUL: Final = frozenset(
    (
        "E",
        "P",
        "V",
        "G",
        "R",
        "L",
        "SPEND",
        "AOV",
        "SUBJ",
        "EVERYONE",
        "VAGUE",
        "RFMW",
        "DIGIT",
        "ANON",
        "IDENT",
        "ANYEVENT",
        "O",
        "W",
        "B",
        "STAGE",
        "AGED",
        "Q",
    )
)


def concluded(piece: Piece, context: Context) -> Proposal:
    """Return the answer for a candidate: the rule if it passes all checks."""
    spans = _spans(context, piece.marks, ())
    result = checked(piece.node, context.catalogue, context.now_ms)
    if result.impossible:
        return refused(_IMPOSSIBLE.format(reason=result.impossible), spans)
    if result.always:
        return refused(_ALWAYS.format(reason=result.always), spans)
    if result.tree is None:
        return asked(f"This cannot be made a rule yet: {result.invalid}. What is meant?", spans)
    return Proposal("rule", piece.node, result.sentence, spans)


def _spans(context: Context, marks: Iterable[Mark], unread: Iterable[Item]) -> tuple[Span, ...]:
    """Return what each token became, tokens of one node next to each other as one span."""
    nodes: dict[int, str] = {}
    for item in unread:
        nodes.update(dict.fromkeys(range(item.first, item.last + 1), UNKNOWN))
    for first, last, node in marks:
        nodes.update(dict.fromkeys(range(first, last + 1), node))
    found: list[Any] = []
    for number, token in enumerate(context.tokens):
        node = nodes.get(number, FILLER)
        shared = bool(found) and token.start < found[-1][1]
        if found and (found[-1][2] == node or shared):
            found[-1] = (found[-1][0], max(token.end, found[-1][1]), found[-1][2] or node)
        else:
            found.append((token.start, token.end, node))
    return tuple(Span(start, end, context.request[start:end], node) for start, end, node in found)
