"""Repair of misspelt words: the nearest word of the vocabulary, if it is near enough and the only one."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Final

from rapidfuzz import process
from rapidfuzz.distance import OSA

from segops.studio.dates import MONTHS, WEEKDAYS
from segops.studio.durations import COMPARISONS, WINDOWS
from segops.studio.lexicon import Lexicon, common_words, words_of
from segops.studio.normalise import Token, reworded, tokens_of
from segops.studio.quantities import QUANTITIES
from segops.studio.words import load_table, load_words, stem

_SHORTEST: Final = 4
#: Length of a word from which on two letters may be wrong.
_LONG: Final = 8
#: Length from which on a word may be several without blanks, and the words of two letters in it.
_JOINED: Final = 7
_SHORT: Final = frozenset(("to", "in", "on", "at", "of", "no", "or", "by"))
#: Up to this length no letter may be another one, since too many words are alike: "green" is not "Greek".
_HALF_LONG: Final = 5
_STRUCTURE: Final = (
    "and or but not no nor neither either both then than never without except excluding besides unless "
    "afterwards before after since until between within followed following different distinct unique "
    "separate average mean total sum biggest largest highest smallest lowest first last latest earliest "
    "favourite most common exactly least hundred thousand million dozen zero one two three four five six "
    "seven eight nine ten eleven twelve twenty thirty forty fifty sixty seventy eighty ninety half "
    "quarter once twice thrice percent euros euro dollars pounds kilometres kilometers miles days weeks "
    "months years hours minutes day week month year hour minute fortnight current consecutive weekend "
    "weekends weekday weekdays morning evening night likely risk customers spent spend spending switched "
    "changed upgraded downgraded moved became become expired ended ending at any "
)
#: Words of five letters of which one may be another one: few words are alike.
_SAFE: Final = frozenset(
    ["since", "twice", "three", "never", "after", "least", "month", "weeks", "spent", "order", "email"]
)
#: A real word that is only right elsewhere -> the word it is after "the last", "past" or "a".
_CONFUSED: Final = {
    "weak": "week",
    "weaks": "weeks",
    "moths": "months",
    "moth": "month",
    "yeas": "years",
    "our": "hour",
}
_BEFORE_THAN: Final = frozenset(("more", "less", "fewer", "greater", "higher", "lower", "older", "later"))
#: Short words whose letters are often typed in the wrong order.
_SHORT_WORDS: Final = {
    **dict.fromkeys(("teh", "hte", "th"), "the"),
    **dict.fromkeys(("adn", "nad", "ans", "amd", "annd"), "and"),
    **dict.fromkeys(("nto", "ont", "nott"), "not"),
    **dict.fromkeys(("fo",), "of"),
    **dict.fromkeys(("woh", "hwo", "whoo"), "who"),
    **dict.fromkeys(("hav", "ahve", "hve"), "have"),
    **dict.fromkeys(("wit", "wth", "whit"), "with"),
    **dict.fromkeys(("tow", "tw"), "two"),
    **dict.fromkeys(("thre", "tree"), "three"),
    **dict.fromkeys(("dya", "dy"), "day"),
    **dict.fromkeys(("dyas", "dasy", "das", "dys"), "days"),
    **dict.fromkeys(("lats", "lst", "alst"), "last"),
    **dict.fromkeys(("teir", "thier"), "their"),
    **dict.fromkeys(("buyed", "bougth", "bougt", "boguht", "bougth"), "bought"),
    **dict.fromkeys(("ordr", "oder"), "order"),
    **dict.fromkeys(("cart's", "crat"), "cart"),
    **dict.fromkeys(("ni",), "in"),
    **dict.fromkeys(("fve", "fiv"), "five"),
    **dict.fromkeys(("dayz",), "days"),
    **dict.fromkeys(("twise", "twyce", "twic", "tiwce"), "twice"),
    **dict.fromkeys(("onec", "ocne", "onse"), "once"),
    **dict.fromkeys(("mont", "mnth", "mth"), "month"),
    **dict.fromkeys(("yr",), "year"),
    **dict.fromkeys(("qtr",), "quarter"),
    **dict.fromkeys(("weks", "wks"), "weeks"),
    **dict.fromkeys(("wk", "wek"), "week"),
    **dict.fromkeys(("ther",), "their"),
    **dict.fromkeys(("trail",), "trial"),
    **dict.fromkeys(("fortnite", "fortnigth"), "fortnight"),
    **dict.fromkeys(("u",), "you"),
    **dict.fromkeys(("frm", "fom", "form"), "from"),
    **dict.fromkeys(("tmes", "tims"), "times"),
    **dict.fromkeys(("orr",), "or"),
    **dict.fromkeys(("n", "nd"), "and"),
    **dict.fromkeys(("fro",), "for"),
    **dict.fromkeys(("bght", "bot", "bougt", "bougth"), "bought"),
    **dict.fromkeys(("aded", "addd"), "added"),
    **dict.fromkeys(("emial", "emial", "eamil", "emal"), "email"),
}
#: What follows the number of a day: "30th".
_ORDINAL_ENDS: Final = frozenset(("st", "nd", "rd", "th"))
_BEFORE_PERIOD: Final = frozenset(("last", "past", "next", "this", "previous"))


@lru_cache(maxsize=1)
def _grammar_words() -> frozenset[str]:
    patterns = " ".join(pattern for pattern, _ in (*WINDOWS, *QUANTITIES))
    structure = (str(phrase) for phrases in load_table("structure.yaml").values() for phrase in phrases)
    said = re.findall(r"[a-z]{3,}", " ".join((patterns, *COMPARISONS, *structure)))
    return frozenset((*said, *_STRUCTURE.split(), *MONTHS, *WEEKDAYS))


@lru_cache(maxsize=64)
def vocabulary_of(lexicon: Lexicon) -> tuple[frozenset[str], tuple[str, ...]]:
    """Return the words that are right as they are, and those that a misspelt one can be."""
    own = lexicon.vocabulary | _grammar_words()
    everyday = frozenset(load_words()["fillers"].split()) | frozenset(load_words()["subjects"].split())
    places = frozenset(word for name in lexicon.catalogue.places for word in name.lower().split())
    targets = (
        own
        | everyday
        | places
        | frozenset(word for words in load_words()["vague"].values() for word in words.split())
    )
    return targets | common_words(), tuple(sorted(word for word in targets if len(word) >= _SHORTEST))


def repaired(tokens: list[Token], lexicon: Lexicon) -> list[Token]:
    """Return the tokens, misspelt words read as the vocabulary's."""
    right, targets = vocabulary_of(lexicon)
    stems = _stems(right)
    found: list[Token] = []
    for token in tokens:
        before = found[-1].norm if found else ""
        if "_" in token.norm and words_of(token.norm) in lexicon.phrases:
            own = tokens_of(token.norm.replace("_", " "))
            found.extend(replace(token, norm=part.norm, name=False) for part in own)
            continue
        mended = _repair(token, before, (right, stems), targets)
        parts = (
            _several_words(token, right, frozenset(targets))
            if mended is token or abs(len(mended.norm) - len(token.norm)) > 1
            else ()
        )
        found.extend([replace(token, norm=word) for word in parts] or [mended])
    return found


@lru_cache(maxsize=64)
def _stems(words: frozenset[str]) -> frozenset[str]:
    return frozenset(map(stem, words))


def _repair(
    token: Token, before: str, right: tuple[Collection[str], Collection[str]], targets: tuple[str, ...]
) -> Token:
    word = token.norm
    if word in _SHORT_WORDS and not (before.isdigit() and word in _ORDINAL_ENDS):
        return reworded(token, _SHORT_WORDS[word])
    if word in ("then", "thn") and before in _BEFORE_THAN:
        return reworded(token, "than")
    if word == "by" and before in ("not", "never"):
        return reworded(token, "buy")
    confused = _CONFUSED.get(word)
    if confused and (before in _BEFORE_PERIOD or before.isdigit()):
        return reworded(token, confused)
    if token.literal or token.number is not None or len(word) < _SHORTEST - 1 or not word.isalpha():
        return token
    if word in right[0] or (token.text.isupper() and len(token.text) > _SHORTEST):
        return token
    return _nearest_token(token, right[1], targets)


def _nearest_token(token: Token, stems: Collection[str], targets: tuple[str, ...]) -> Token:
    """Return a token that is no word of the vocabulary as the word that is nearest."""
    word = token.norm
    if token.stem in stems:
        return reworded(token, word + "e") if word == token.stem and word + "e" in targets else token
    if len(word) < _SHORTEST:
        return token if token.name else reworded(token, _without_vowels(word, targets) or word)
    near = nearest(word, targets, 1 if token.name else _allowed(word))
    near = near or (None if token.name else _without_vowels(word, targets))
    return token if near is None else reworded(token, near)


def _without_vowels(word: str, targets: Collection[str]) -> str | None:
    """Return the only word that has vowels, or doubled letters, which this one lacks: "over" for "ovr"."""
    if len(_bones(word)) < len(word) - 1 and len(word) < _HALF_LONG:
        return None
    found = [text for text in _by_bones(tuple(targets)).get(_bones(word), ()) if _longer(word, text)]
    return found[0] if len({stem(text) for text in found}) == 1 else None


@lru_cache(maxsize=64)
def _by_bones(targets: tuple[str, ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in targets:
        found.setdefault(_bones(text), []).append(text)
    return found


def _bones(word: str) -> str:
    """Return the first letter and the consonants after it, doubled ones once."""
    return word[:1] + re.sub(r"(.)\1+", r"\1", re.sub(r"[aeiou]", "", word[1:]))


@lru_cache(maxsize=1)
def _irregular() -> frozenset[str]:
    return frozenset(
        form for forms in load_words()["irregular"].values() for form in forms.split() if form[4:]
    )


def _several_words(token: Token, right: Collection[str], targets: Collection[str]) -> tuple[str, ...]:
    """Return the words that stand in a word without blanks, such as "addedtocart"; empty if they are none."""
    word = token.norm
    if token.literal or token.name or len(word) < _JOINED or not word.isalpha() or word in right:
        return ()
    known = {
        part
        for begin in range(len(word))
        for end in range(begin + 2, len(word) + 1)
        if (part := word[begin:end]) in {2: _SHORT, 3: right}.get(end - begin, targets)
        or part in _irregular()
    }
    fewest: dict[int, tuple[str, ...]] = {0: ()}
    for end in range(2, len(word) + 1):
        ways = [
            (*fewest[begin], word[begin:end])
            for begin in range(end)
            if begin in fewest and word[begin:end] in known
        ]
        if ways:
            fewest[end] = min(ways, key=len)
    parts = fewest.get(len(word), ())
    return parts if 1 < len(parts) < 4 and max(map(len, parts)) >= _SHORTEST else ()


def _allowed(word: str) -> int:
    return 2 if len(word) >= _LONG else 1


def nearest(word: str, targets: Collection[str], most: int) -> str | None:
    """Return the word that differs least, in at most ``most`` letters; None if two are as near.

    >>> nearest("jakcets", ("jackets", "jacket", "tickets"), 2), nearest("pets", ("gets",), 1)
    ('jackets', None)
    """
    found = list(_ranked(word, targets, most))
    if not found:
        return None
    best = found[0][0]
    same = {stem(text) for distance, text in found if distance == best}
    return (
        found[0][1]
        if len(same) == 1
        else _decided(word, [text for distance, text in found if distance == best])
    )


def _decided(word: str, texts: list[str]) -> str | None:
    """Of words as near, return the only one with the same letters, or with one letter more."""
    for alike in (_turned, _longer):
        found = [text for text in texts if alike(word, text)]
        if len({stem(text) for text in found}) == 1:
            return found[0]
    return None


def _turned(word: str, text: str) -> bool:
    return sorted(text) == sorted(word)


def _longer(word: str, text: str) -> bool:
    letters = iter(text)
    return text[0] == word[0] and len(text) > len(word) and all(letter in letters for letter in word)


def _ranked(word: str, targets: Collection[str], most: int) -> Iterator[tuple[int, str]]:
    matches = process.extract(word, targets, scorer=OSA.distance, score_cutoff=most, limit=12)
    for text, distance, _ in sorted(matches, key=lambda match: (match[1], match[0] != word + "s", match[0])):
        if _is_plausible(word, text, int(distance)):
            yield int(distance), text


def _is_plausible(word: str, text: str, distance: int) -> bool:
    if len(word) == _SHORTEST:
        return sorted(word) == sorted(text) or (len(text) > len(word) and word[:2] == text[:2])
    if len(word) <= _HALF_LONG and len(word) == len(text) and sorted(word) != sorted(text):
        return text in _SAFE or _is_vowel_wrong(word, text)
    return word[0] == text[0] or (distance == 1 and len(word) > _HALF_LONG)


def _is_vowel_wrong(word: str, text: str) -> bool:
    """Whether only one vowel is another vowel: "seets" for "seats"."""
    wrong = [pair for pair in zip(word, text, strict=True) if pair[0] != pair[1]]
    return len(word) == _HALF_LONG and len(wrong) == 1 and set(wrong[0]) <= set("aeiou")
