"""The lexer: from tokens to items, by the spans, the lexicon of the catalogue and the words of structure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from segops.studio.dates import MONTHS
from segops.studio.items import Item
from segops.studio.lexicon import MAX_GAP, Lexicon, Phrase
from segops.studio.meanings import Field, Value
from segops.studio.normalise import Token
from segops.studio.spans import find_spans
from segops.studio.words import load_table, load_words

#: Words that may stand within a phrase without being said in it.
_PASSED_OVER: Final = frozenset(
    [
        "a",
        "an",
        "the",
        "their",
        "our",
        "his",
        "her",
        "its",
        "my",
        "your",
        "any",
        "some",
        "us",
        "has",
        "have",
        "of",
        "this",
        "that",
        "these",
        "those",
        "they",
        "them",
        "will",
        "got",
        "get",
        "gets",
        "was",
        "were",
        "been",
        "is",
        "are",
    ]
)
#: Words that belong to the verb before them rather than to a time after them: "logged in this week".
_PARTICLES: Final = frozenset(("in", "up", "into", "on"))
#: Words that no phrase with a gap reaches over.
_STOPS: Final = frozenset(
    [
        "who",
        "which",
        "that",
        "but",
        "then",
        "not",
        "without",
        "never",
        ",",
        ";",
        ":",
        "(",
        ")",
        "than",
        "since",
        "before",
        "after",
        "while",
        "or",
        "and",
        "per",
    ]
)
#: The first words of days of the week, which dates would take: "on Mondays", "from Monday to Friday".
_DAYS_BEGIN: Final = frozenset(("on", "from", "between", "monday", "mondays"))
#: Words after "the 1st" that make it a day.
_DAY_GOES_ON: Final = frozenset(("and", "to", "until", "till", "of", "through", "-", *MONTHS))
_JOINING: Final = frozenset(("and", "or", ","))
#: The order in which the meanings of a phrase are tried.
_PRIORITY: Final = "BEGRLVPO"


@dataclass(frozen=True, slots=True)
class _Match:
    """A phrase of the lexicon: the tokens of its words, and those in its gap."""

    words: tuple[int, ...]
    meanings: Mapping[str, Any]

    @property
    def size(self) -> int:
        return len(self.words)


@lru_cache(maxsize=1)
def structure() -> Mapping[Phrase, tuple[str, str]]:
    """Return the phrases of structure with their kinds and values."""
    found: dict[Phrase, tuple[str, str]] = {}
    for name, phrases in load_table("structure.yaml").items():
        kind, _, value = name.partition(".")
        for phrase in phrases:
            found.setdefault(tuple(str(phrase).split()), (kind, value))
    return found


@lru_cache(maxsize=1)
def _vague() -> Mapping[str, str]:
    return {word: kind for kind, words in load_words()["vague"].items() for word in words.split()}


@lru_cache(maxsize=1)
def _fillers() -> frozenset[str]:
    return frozenset(load_words()["fillers"].split())


@lru_cache(maxsize=1)
def _subjects() -> frozenset[str]:
    return frozenset(load_words()["subjects"].split())


class Lexer:
    """Takes the tokens of one request for items."""

    def __init__(self, tokens: list[Token], lexicon: Lexicon, now_ms: int) -> None:
        self.tokens, self.lexicon = tokens, lexicon
        self.items: list[Item] = []
        #: Numbers of tokens that an item, a phrase's end, or nothing but grammar has used.
        self.used: set[int] = set()
        self._read_numbered_phrases()
        self.spans = {
            span.first: span
            for span in find_spans(tokens, now_ms, self.used)
            if self.used.isdisjoint(range(span.first, span.last + 1))
            and not self._is_no_date(span.kind, span)
        }
        self._covered = {at for span in self.spans.values() for at in range(span.first, span.last + 1)}

    def _is_no_date(self, kind: str, span: Any) -> bool:
        """Whether a lone word is only spelt like a month: "may", "march"."""
        token = self.tokens[span.first]
        return (
            kind == "T"
            and span.first == span.last
            and token.norm in ("may", "march", "mar", "dec", "sat", "sun")
            and not token.name
        )

    def _read_numbered_phrases(self) -> None:
        """Take phrases that numbers and times would take apart, such as "1 and done" and "log in"."""
        self._covered = set()
        self.spans = {}
        for at, token in enumerate(self.tokens):
            if at and self.tokens[at - 1].norm in MONTHS:
                continue
            verb = at + 1 < len(self.tokens) and self.tokens[at + 1].norm in _PARTICLES
            following = self.tokens[at + 1] if at + 1 < len(self.tokens) else token
            if token.norm in _DAYS_BEGIN or token.number is not None or following.number is not None:
                self._read_structure(at)
            match = self._phrase(at) if token.number is not None or verb else None
            if match is not None and match.size > 1 and (token.number is not None or "E" in match.meanings):
                self._put(match)

    def _read_structure(self, at: int) -> None:
        """Take a phrase of structure that has a number in it, such as "in one order"."""
        found = self._structure(at)
        after = self.tokens[at + 2 : at + 3]
        if found is not None and found[1][0] == "FIRST" and after and after[0].norm in _DAY_GOES_ON:
            return
        numbered_ = found and any(token.number is not None for token in self.tokens[at : at + found[0]])
        if found is not None and (numbered_ or found[1][0] == "TOD"):
            self._add_structure(at, *found)
            self.used.update(range(at, at + found[0]))

    def _add_structure(self, at: int, length: int, said: tuple[str, str]) -> None:
        kind, value = said
        text = " ".join(token.text for token in self.tokens[at : at + length])
        self.items.append(Item(kind, (value, text) if kind == "VAGUE" else value, at, at + length - 1))

    def read(self) -> list[Item]:
        """Return the items in the order of their first tokens; fillers are no items."""
        at = 0
        while at < len(self.tokens):
            at = self._read_at(at)
        return sorted(self.items, key=lambda item: item.first)

    def _read_at(self, at: int) -> int:
        if at in self.used:
            return at + 1
        span = self.spans.get(at)
        if span is not None:
            self.items.append(Item(span.kind, span.value, span.first, span.last))
            return span.last + 1
        phrase, said = self._best(at), self._structure(at)
        if phrase is not None and said is not None and said[1][0] == "FN" and phrase.size == said[0]:
            self.items.append(Item("FN", said[1][1], at, at, other=phrase.meanings))
            return at + 1
        if phrase is not None and (said is None or phrase.size >= said[0]):
            self._put(phrase)
            return at + 1
        if said is not None:
            self._add_structure(at, *said)
            return at + said[0]
        self.items.extend(self._single(at))
        return at + 1

    def _single(self, at: int) -> Iterator[Item]:
        token = self.tokens[at]
        if self._is_country(at):
            field = Field("trait", "country")
            yield Item("V", (Value(field, token.text),), at, at)
        elif token.literal:
            yield Item("LIT", token.text.strip("\"'“”«»‘’ "), at, at)
        elif token.norm in _subjects():
            yield Item("SUBJ", token.norm, at, at)
        elif token.norm in _vague():
            yield Item("VAGUE", (_vague()[token.norm], token.norm), at, at)
        elif token.norm not in _fillers() or (token.name and len(token.norm) > 3):
            yield Item("UNK", token.text, at, at)

    def _is_country(self, at: int) -> bool:
        """Whether a code in capital letters goes on a list of countries: "DE, AT and CH"."""
        token = self.tokens[at]
        if token.text not in load_table("countries.yaml") or "country" not in self.lexicon.catalogue.traits:
            return False
        last = max(self.items, key=lambda item: item.last, default=None)
        while last is not None and last.kind in ("COMMA", "OR", "AND"):
            before = last.first
            last = max(
                (item for item in self.items if item.last < before), key=lambda item: item.last, default=None
            )
        said = last.value if last is not None and last.kind in ("V", "P") else ()
        return Field("trait", "country") in [getattr(each, "field", each) for each in said]

    # -- phrases -------------------------------------------------------------------------------------------

    def _structure(self, at: int) -> tuple[int, tuple[str, str]] | None:
        table = structure()
        for length in range(6, 0, -1):
            words = tuple(token.norm for token in self.tokens[at : at + length])
            free = self._covered.isdisjoint(range(at, at + length)) and self.used.isdisjoint(
                range(at, at + length)
            )
            if len(words) == length and words in table and free:
                return length, table[words]
        return None

    def _best(self, at: int) -> _Match | None:
        plain, gapped = self._phrase(at), self._gapped(at)
        if plain is None or (gapped is not None and gapped.size > plain.size):
            return gapped
        return plain

    def _phrase(self, at: int) -> _Match | None:
        """Return the longest phrase that begins at a token; articles within it are passed over."""
        found: _Match | None = None
        words: list[int] = []
        key: Phrase = ()
        for number in range(at, min(at + 2 * self.lexicon.longest, len(self.tokens))):
            token = self.tokens[number]
            if number in self._covered or number in self.used or token.norm in (",", ";", ":", "(", ")"):
                break
            extended = (*key, token.stem)
            if extended in self.lexicon.prefixes:
                key, words = extended, [*words, number]
            elif not words or token.norm not in _PASSED_OVER:
                break
            meanings = self.lexicon.phrases.get(key)
            if meanings is not None and len(words) == len(key) and words[-1] == number:
                found = _Match(tuple(words), meanings)
        return found

    def _gapped(self, at: int) -> _Match | None:
        for head, ending, meanings in self.lexicon.gaps.get(self.tokens[at].stem, ()):
            words = self._follow(at, head)
            ends = self._ending(words[-1] + 1, ending) if words else None
            if ends:
                return _Match((*words, *ends), meanings)
        return None

    def _follow(self, at: int, phrase: Phrase) -> tuple[int, ...]:
        """Return the tokens of a phrase that begins at a token; empty if it does not."""
        words: list[int] = []
        for number in range(at, len(self.tokens)):
            if len(words) == len(phrase):
                break
            if number in self._covered or number in self.used:
                return ()
            if self.tokens[number].stem == phrase[len(words)]:
                words.append(number)
            elif not words or self.tokens[number].norm not in _PASSED_OVER:
                return ()
        return tuple(words) if len(words) == len(phrase) else ()

    def _ending(self, at: int, ending: Phrase) -> tuple[int, ...]:
        passed, number = 0, at
        if self._compares(at, ending):
            return ()
        while number < len(self.tokens) and passed <= MAX_GAP:
            words = self._follow(number, ending)
            if words:
                return words
            if number in self.spans and self._divides(self.spans[number]):
                return ()
            if number in self.spans:
                number, passed = self.spans[number].last + 1, passed + 1
                continue
            if number in self._covered or number in self.used or self._stops(number):
                return ()
            passed += self.tokens[number].norm not in _PASSED_OVER
            number += 1
        return ()

    def _compares(self, at: int, ending: Phrase) -> bool:
        """Whether the next word sets another event beside the verb: "refunds to orders"."""
        words = [token.norm for token in self.tokens[at : at + 2]]
        return (
            words[:1] in (["as"], ["to"]) and ending[0] != words[0] and words[1:] not in (["many"], ["often"])
        )

    def _divides(self, span: Any) -> bool:
        """Whether a span parts what is before it from another event: "within 2 days of", "half of"."""
        part = self.tokens[span.last].text.lower().endswith("of")
        if span.kind == "W":
            return bool(getattr(span.value, "kind", "") == "after")
        return span.kind == "Q" and (part or bool(span.value.unit == "percent"))

    def _stops(self, number: int) -> bool:
        token = self.tokens[number]
        if token.norm in ("different", "distinct", "unique", "various", "another"):
            return True
        if token.norm in _JOINING and number + 1 < len(self.tokens):
            following = self.lexicon.phrases.get((self.tokens[number + 1].stem,), {})
            return "V" not in following
        if token.norm in _STOPS:
            return True
        meanings = self.lexicon.phrases.get((token.stem,), {})
        return "E" in meanings and "V" not in meanings and "O" not in meanings

    def _put(self, match: _Match) -> None:
        """Add the item of a phrase; tokens after its gap belong to it without lying within it."""
        kind = next(kind for kind in _PRIORITY if kind in match.meanings)
        first = match.words[0]
        last = first
        while last + 1 in match.words or (
            last + 1 < match.words[-1] and self._is_article(last + 1) and last + 2 in match.words
        ):
            last += 1
        marks = tuple((at, at, "") for at in match.words if at > last)
        rest = {other: meaning for other, meaning in match.meanings.items() if other != kind}
        self.used.update(match.words)
        self.used.update(range(first, last + 1))
        self.items.append(Item(kind, match.meanings[kind], first, last, marks, rest))

    def _is_article(self, at: int) -> bool:
        return self.tokens[at].norm in _PASSED_OVER
