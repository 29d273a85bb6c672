"""The lexicon: the phrases by which people name what a catalogue has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final

from segops.studio.catalogue import StudioCatalogue
from segops.studio.meanings import FORECAST, Event, Field, Value, horizon_ms
from segops.studio.normalise import tokens_of
from segops.studio.numbers import NUMBER_WORDS, numbered
from segops.studio.synonyms import Synonyms, expanded
from segops.studio.words import load_table, load_words, stem

#: What stands between the halves of a phrase: up to this many words.
GAP: Final = "*"
MAX_GAP: Final = 6

Phrase = tuple[str, ...]
Meanings = Mapping[str, Any]

_PARTICLES: Final = frozenset(["in", "up", "out", "on", "off", "to"])
_SUFFIXES: Final = ("id", "name", "at", "date", "s")
#: Verbs that say too little without what they are about.
_VAGUE_VERBS: Final = frozenset(
    map(
        stem,
        [
            "start",
            "open",
            "complete",
            "add",
            "use",
            "submit",
            "fail",
            "cancel",
            "update",
            "create",
            "change",
            "delete",
            "send",
            "receive",
            "click",
        ],
    )
)


#: A phrase of plain words and gaps, and the words that are more than themselves.
_PLAIN: Final = re.compile(r"[a-z* ]+")
_SPECIAL: Final = frozenset((*NUMBER_WORDS, *load_words()["contractions"]))


def words_of(text: str) -> Phrase:
    """Return the stems of a phrase, numbers in digits.

    >>> words_of("Product Viewed"), words_of("loyalty_points")
    (('product', 'view'), ('loyalty', 'point'))
    """
    if _PLAIN.fullmatch(text):
        words = text.split()
        if _SPECIAL.isdisjoint(words):
            return tuple(map(stem, words))
    spaced = re.sub(r"[_\-]+", " ", text).replace(GAP, " GAPMARK ")
    return tuple(
        GAP if token.norm == "gapmark" else token.stem
        for token in numbered(tokens_of(spaced))
        if token.norm.strip()
    )


@dataclass(frozen=True, eq=False)
class Lexicon:
    """Phrases with their meanings, for one catalogue and its synonyms."""

    catalogue: StudioCatalogue
    phrases: Mapping[Phrase, Meanings]
    gaps: Mapping[str, tuple[tuple[Phrase, Phrase, Meanings], ...]]
    vocabulary: frozenset[str]

    @cached_property
    def prefixes(self) -> frozenset[Phrase]:
        """The beginnings of all phrases, and the phrases."""
        return frozenset(phrase[:length] for phrase in self.phrases for length in range(1, len(phrase) + 1))

    @cached_property
    def longest(self) -> int:
        """The number of words in the longest phrase."""
        return max(map(len, self.phrases), default=1)


@lru_cache(maxsize=64)
def lexicon_of(catalogue: StudioCatalogue, synonyms: Synonyms) -> Lexicon:
    """Return the lexicon of a catalogue; later ones of the same catalogue are the same object."""
    phrases: dict[Phrase, dict[str, Any]] = {}
    gaps: dict[str, list[tuple[Phrase, Phrase, Meanings]]] = {}
    vocabulary: set[str] = set()
    for text, kind, meaning in _entries(catalogue, synonyms):
        phrase = words_of(text)
        vocabulary.update(word for word in re.findall(r"[a-z]+", text.lower()) if word != GAP)
        if GAP in phrase:
            at = phrase.index(GAP)
            gaps.setdefault(phrase[0], []).append((phrase[:at], phrase[at + 1 :], {kind: meaning}))
        elif phrase:
            _put(phrases.setdefault(phrase, {}), kind, meaning)
    ordered = {word: tuple(sorted(found, key=_by_length, reverse=True)) for word, found in gaps.items()}
    return Lexicon(catalogue, phrases, ordered, frozenset(vocabulary) | _inflected(vocabulary))


def _by_length(gap: tuple[Phrase, Phrase, Meanings]) -> int:
    return len(gap[0]) + len(gap[1])


def _put(meanings: dict[str, Any], kind: str, meaning: Any) -> None:
    """Add a meaning: fields and values of one phrase are collected, of other kinds the first one stays."""
    if kind in "PV":
        meanings[kind] = tuple(dict.fromkeys((*meanings.get(kind, ()), meaning)))
    elif kind == "E" and kind in meanings and meanings[kind].count is None and meaning.count is None:
        names = (*meanings[kind].names, *meaning.names)
        meanings[kind] = Event(tuple(dict.fromkeys(names)))
    else:
        meanings.setdefault(kind, meaning)


def _inflected(words: Iterable[str]) -> frozenset[str]:
    return frozenset(form for word in words if len(word) > 3 for form in _forms(word))


def _forms(word: str) -> Iterator[str]:
    """Yield the regular inflections of a word: "purchases", "purchased", "purchasing"."""
    base = word.removesuffix("e")
    yield (
        word[:-1] + "ies"
        if word.endswith("y")
        else word + ("es" if word.endswith(("s", "x", "ch", "sh")) else "s")
    )
    yield base + "ed"
    yield base + "ing"


_Entry = tuple[str, str, Any]


def _entries(catalogue: StudioCatalogue, synonyms: Synonyms) -> Iterator[_Entry]:
    yield from _of_events(catalogue, synonyms)
    yield from _of_shapes(catalogue)
    yield from _of_abandonments(catalogue)
    yield from _of_fields(catalogue, synonyms)
    yield from _of_dates(catalogue)
    yield from _of_values(catalogue, synonyms)
    yield from _of_countries(catalogue)
    yield from _of_booleans(catalogue)
    for table, kind, names in (("segments", "G", catalogue.segments), ("rfm", "R", catalogue.rfm)):
        for name in names:
            for phrase in (name, *synonyms.phrases(table, name)):
                yield phrase, kind, name
    for name in catalogue.places:
        yield name, "L", name


def _of_events(catalogue: StudioCatalogue, synonyms: Synonyms) -> Iterator[_Entry]:
    verbs = [words_of(name)[-1:] for name in catalogue.events]
    for name in catalogue.events:
        words, own = words_of(name), tuple(synonyms.phrases("events", name))
        event = Event((name,))
        yield name, "E", event
        for phrase in (*own, *_turned(words)):
            yield phrase, "E", event
        if len(words) > 1 and verbs.count(words[-1:]) == 1 and not own and words[-1] not in _VAGUE_VERBS:
            yield words[-1], "E", event
        for noun in [] if {words[-1], *words[-2:-1]} & _PARTICLES else name.lower().split()[:-1][-1:]:
            yield noun, "O", noun


def _turned(words: Phrase) -> Iterator[str]:
    """Yield the verb before what it is about: "view product" for Product Viewed."""
    if len(words) > 1 and words[-1] not in _PARTICLES:
        *about, verb = words
        yield f"{verb} {' '.join(about)}"
        yield f"{verb} {GAP} {' '.join(about)}"


def _of_shapes(catalogue: StudioCatalogue) -> Iterator[_Entry]:
    known = {name.lower(): name for name in catalogue.events}
    for name, shapes in load_table("synonyms.yaml")["shapes"].items():
        for shape in shapes if name.lower() in known else ():
            for phrase in (each for says in shape["says"] for each in expanded(says)):
                yield phrase, "E", Event((known[name.lower()],), shape["count"])


def _of_abandonments(catalogue: StudioCatalogue) -> Iterator[_Entry]:
    known = {name.lower(): name for name in catalogue.events}
    for name, phrases in load_table("synonyms.yaml")["abandonments"].items():
        for text in phrases if name.lower() in known else ():
            for phrase in expanded(text):
                yield phrase, "B", known[name.lower()]


def _of_fields(catalogue: StudioCatalogue, synonyms: Synonyms) -> Iterator[_Entry]:
    properties = {name for event in catalogue.events.values() for name in event}
    owners = (
        ("property", "properties", sorted(properties)),
        ("trait", "traits", catalogue.traits),
        ("score", "scores", catalogue.scores),
    )
    for owner, table, names in owners:
        for name in names:
            said = FORECAST if owner == "score" and horizon_ms(name) is not None else owner
            for phrase in _said(name):
                yield phrase, "P", Field(owner, name)
            for phrase in dict.fromkeys(synonyms.phrases(table, name)):
                yield phrase, "P", Field(said, name)


def _said(name: str) -> Iterator[str]:
    """Yield how people say the name of a field: "trial ends" for trial_ends_at."""
    words = words_of(name)
    yield " ".join(words)
    if len(words) > 1 and words[-1] in _SUFFIXES:
        yield " ".join(words[:-1])


def _of_dates(catalogue: StudioCatalogue) -> Iterator[_Entry]:
    for name, entry in load_table("synonyms.yaml")["dates"].items():
        if name in catalogue.traits and entry["unless"] not in catalogue.events:
            for phrase in (each for text in entry["phrases"] for each in expanded(text)):
                yield phrase, "P", Field("trait", name)


def _of_values(catalogue: StudioCatalogue, synonyms: Synonyms) -> Iterator[_Entry]:
    for field, value in _choices(catalogue):
        for phrase in (value, *synonyms.phrases("choices", value)):
            yield phrase, "V", Value(field, value)


def _choices(catalogue: StudioCatalogue) -> Iterator[tuple[Field, str]]:
    for name, kind in catalogue.traits.items():
        for value in kind.values:
            yield Field("trait", name), value
    properties = {
        (name, value)
        for event in catalogue.events.values()
        for name, kind in event.items()
        for value in kind.values
    }
    for name, value in sorted(properties):
        yield Field("property", name), value


def _of_countries(catalogue: StudioCatalogue) -> Iterator[_Entry]:
    for name, kind in catalogue.traits.items():
        for code, phrases in load_table("countries.yaml").items() if kind.name == "country" else ():
            for phrase in phrases:
                yield phrase, "V", Value(Field("trait", name), code)


def _of_booleans(catalogue: StudioCatalogue) -> Iterator[_Entry]:
    for name, said in load_table("synonyms.yaml")["booleans"].items():
        for value, phrases in said.items() if name in catalogue.traits else ():
            for phrase in (each for text in phrases for each in expanded(text)):
                yield phrase, "V", Value(Field("trait", name), value is True)


@lru_cache(maxsize=1)
def common_words() -> frozenset[str]:
    """Return the words that belong to no catalogue and are never repaired."""
    tables = load_words()
    texts = [tables["fillers"], tables["subjects"], tables["known"], tables["refuse_requests"]]
    texts += [*tables["vague"].values(), *tables["sensitive"].values(), *tables["irregular"].values()]
    texts += [
        *tables["irregular"],
        *tables["injections"],
        *(" ".join(each) for each in tables["cannot"].values()),
    ]
    return frozenset(word for text in texts for word in re.findall(r"[a-z]+", text))
