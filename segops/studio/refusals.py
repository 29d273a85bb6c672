"""Refusals: requests that are none, traits that are sensitive, and what the language cannot say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

from segops.studio.normalise import Token
from segops.studio.words import load_words

_POLITE: Final = frozenset(
    [
        "please",
        "can",
        "could",
        "would",
        "you",
        "i",
        "want",
        "need",
        "to",
        "just",
        "kindly",
        "now",
        "go",
        "ahead",
        "and",
        "like",
    ]
)
#: Verbs that are also nouns of the catalogue: an order to do something only before one of ``_OBJECTS``.
_NOUNS: Final = frozenset(
    [
        "email",
        "message",
        "sms",
        "text",
        "call",
        "refund",
        "charge",
        "set",
        "change",
        "run",
        "drop",
        "send",
        "push",
        "update",
        "insert",
        "export",
        "download",
        "block",
        "ban",
        "repeat",
        "draw",
        "paint",
        "schedule",
        "remove",
        "reset",
        "calculate",
        "paint",
        "code",
        "program",
        "report",
        "reply",
        "print",
        "what",
        "how",
        "when",
        "where",
        "who",
    ]
)
_OBJECTS: Final = frozenset(
    [
        "all",
        "every",
        "everyone",
        "everybody",
        "the",
        "my",
        "our",
        "your",
        "customers",
        "users",
        "them",
        "me",
        "a",
        "an",
        "it",
        "this",
        "that",
        "people",
        "him",
        "her",
        "these",
        "those",
        "many",
        "much",
        "is",
        "are",
        "do",
        "does",
        "did",
        "was",
        "were",
        "can",
        "would",
        "should",
    ]
)
#: Words that ask only at the beginning: after a noun they say something of it, as in "email is missing".
_ASKING: Final = frozenset(("what", "how", "when", "where", "who"))
_STATING: Final = frozenset(
    ("is", "are", "do", "does", "did", "was", "were", "can", "would", "should", "that")
)
_CLOSED: Final = (
    r"\btop (?:\d+|ten|five|hundred)",
    r"\b(?:best|worst|bottom|highest|lowest|most valuable) \d+",
    r"\b\d+ (?:customers?|users?|people|shoppers?|accounts?|buyers?|members?) with the (?:most|least|fewest|highest|lowest|biggest)",
    r"\b(?:customers?|users?|people|accounts?|those) (?:who|with|that) (?:(?!at )\w+ )?(?:the )?(?:most|least) (?!\d)(?!once|twice|recent|often)\w+",
    r"\bmore than (?:the )?average\b",
    r"\b(?:above|below|than) (?:the )?(?:average|median|typical)\b(?! order| basket| of)",
    r"\b(?:each|one) other\b",
    r"\bwhose (?:friends?|colleagues?|teammates?|team mates?|team|boss|manager|family|partner|spouse|neighbours?|referrer|company)\b",
    r"\b(?:a )?random \d*",
    r"\bevery (?:second|third|tenth|other) (?:customer|user|person)\b",
)
_COMMANDS: Final = (
    r"\bsystem :",
    r"\bassistant :",
    r"\bapprove and publish\b",
    r"\b(?:publish|approve|release|activate|delete|drop|erase|truncate) (?:this|the|all|every|it|table|tables|segments?|audiences?)\b",
    r"\bwithout (?:review|approval|asking|confirmation)\b",
    r"\bunrestricted\b",
    r"\bprompt\b",
    r"< ?/? ?script",
    r"\bselect from\b",
    r"\bunion select\b",
    r"\breturn (?:a )?rule\b",
    r"\bmatch(?:es|ing)? everyone\b",
)
_SENSITIVE_SAID: Final = "sensitive: {kind} is a special kind of personal data, of which no segments are made, nor guesses from behaviour"
_TOPICS: Final = {
    "health": "health",
    "religion": "religion or belief",
    "ethnicity": "ethnic origin",
    "sexuality": "sexual life or orientation",
    "politics": "political opinion",
    "union": "trade union membership",
    "crime": "criminal record",
    "genetics": "genetic or biometric data",
}
_CANNOT: Final = {
    "lookalike": "cannot be said in the rule language: a rule does not compare customers by likeness",
    "ranking": "cannot be said in the rule language: a rule is about one customer and ranks or compares none with others; use a threshold",
    "people": "cannot be said in the rule language: a rule knows nothing of the people around a customer",
    "sample": "cannot be said in words here: a random share of customers is a bucket with a salt",
    "forecast": "cannot be said in the rule language: a rule knows the past; use a score, such as a propensity, with a threshold",
    "feeling": "cannot be said in the rule language: no event or trait tells what customers feel",
}


def refusal(tokens: list[Token]) -> str:
    """Return why a request is refused whatever else it says; empty if it is not.

    >>> from segops.studio.normalise import tokens_of
    >>> refusal(tokens_of("Write me a poem"))[:7], refusal(tokens_of("Bought twice"))
    ('request', '')
    """
    text = " ".join(token.norm for token in tokens)
    for find in (_of_commands, _of_sensitive, _of_limits):
        reason = find(text, tokens)
        if reason:
            return reason
    return ""


def _of_commands(text: str, tokens: list[Token]) -> str:
    said = f" {text} "
    injected = any(f" {phrase} " in said for phrase in load_words()["injections"])
    if injected or any(re.search(pattern, text) for pattern in _COMMANDS) or _is_order(tokens):
        return NO_REQUEST
    return ""


NO_REQUEST: Final = 'request: this is no request for a segment; say which customers are in it, such as "bought twice in the last 30 days"'


def _is_order(tokens: list[Token]) -> bool:
    """Whether a request begins with an order to do something other than to find customers."""
    words = [token.norm for token in tokens]
    while words and words[0] in _POLITE:
        words = words[1:]
    if not words or words[0] not in load_words()["refuse_requests"].split():
        return False
    objects = _OBJECTS if words[0] in _ASKING else _OBJECTS - _STATING
    return words[0] not in _NOUNS or (len(words) > 1 and words[1] in objects)


def is_talk(token: Token) -> bool:
    """Whether a word begins a talk or an order rather than naming customers."""
    return token.norm in load_words()["refuse_requests"].split()


@lru_cache(maxsize=1)
def _sensitive() -> Mapping[str, str]:
    return {
        word.replace("-", " "): kind
        for kind, words in load_words()["sensitive"].items()
        for word in words.split()
    }


def _of_sensitive(text: str, _tokens: list[Token]) -> str:
    said = f" {text} "
    kind = next((kind for word, kind in _sensitive().items() if f" {word} " in said), None)
    return "" if kind is None else _SENSITIVE_SAID.format(kind=_TOPICS[kind])


def _of_limits(text: str, _tokens: list[Token]) -> str:
    said = f" {text} "
    kind = next((kind for kind, phrase in _limits() if f" {phrase} " in said), None)
    if kind is None and any(re.search(pattern, text) for pattern in _CLOSED[:6]):
        kind = "ranking"
    if kind is None and re.search(_CLOSED[6] + "|" + _CLOSED[7], text):
        kind = "people"
    if kind is None and re.search(_CLOSED[8] + "|" + _CLOSED[9], text):
        kind = "sample"
    return "" if kind is None else _CANNOT[kind]


def _limits() -> Iterator[tuple[str, str]]:
    for kind, phrases in load_words()["cannot"].items():
        for phrase in phrases:
            yield kind, phrase
