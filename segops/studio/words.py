"""Words: their stems, and the tables of ``data/words.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

from segops.schemas.written import read_yaml

_VOWELS: Final = frozenset("aeiouy")
_SIBILANTS: Final = ("ch", "sh", "ss", "x", "zz")
_SHORT: Final = 3
#: From this length on, an l at the end is doubled only before a suffix: cancelled, but called.
_DOUBLED_L: Final = 5


@lru_cache(maxsize=1)
def load_words() -> Mapping[str, Any]:
    """Return the tables of words that belong to no catalogue."""
    return load_table("words.yaml")


@lru_cache(maxsize=8)
def load_table(name: str) -> Mapping[str, Any]:
    """Return a file of this package's ``data``."""
    table: Mapping[str, Any] = read_yaml((files(__package__) / "data" / name).read_text("utf-8"))
    return table


@lru_cache(maxsize=1)
def _irregular() -> Mapping[str, str]:
    return {form: base for base, forms in load_words()["irregular"].items() for form in forms.split()}


@lru_cache(maxsize=16_384)
def stem(word: str) -> str:
    """Return what the inflections of a word have in common. The word is in lower case.

    >>> [stem(word) for word in ("purchases", "purchased", "bought", "buying", "categories", "shopping")]
    ['purchas', 'purchas', 'buy', 'buy', 'category', 'shop']
    """
    word = _irregular().get(word, word)
    if len(word) <= _SHORT or not word.isalpha():
        return word
    return _without_e(_without_suffix(word))


def _without_suffix(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith("es") and word[:-2].endswith(_SIBILANTS):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return _without_suffix(word[:-1]) if word.endswith("ings") else word[:-1]
    for suffix in ("ied", "ing", "ed"):
        rest = word[: -len(suffix)]
        if word.endswith(suffix) and len(rest) >= _SHORT and not _VOWELS.isdisjoint(rest):
            return rest + "y" if suffix == "ied" else _single(rest)
    return word


def _single(rest: str) -> str:
    """Undo the doubling of a last consonant: shopp, cancell."""
    doubled = rest[-1] == rest[-2] and (rest[-1] not in "aeiouszlf" or len(rest) > _DOUBLED_L)
    return rest[:-1] if doubled else rest


def _without_e(word: str) -> str:
    word = word[:-1] if word.endswith("ll") and len(word) > 5 else word
    return word[:-1] if word.endswith("e") and len(word) > _SHORT else word
