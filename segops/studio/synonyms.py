"""Synonyms: what people say for the names of a catalogue; a workspace adds its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any, Final

from segops.core.errors import UserError
from segops.studio.words import load_table

#: The tables of names with their phrases.
TABLES: Final = ("events", "properties", "traits", "scores", "segments", "rfm", "choices")
#: Limit on what one phrase with alternatives expands to.
MAX_EXPANDED: Final = 2_000

_ALTERNATIVES = re.compile(r"(\{[^{}]*\}|\[[^\[\]]*\])")


@dataclass(frozen=True)
class Synonyms:
    """Phrases by table and name, in the form of ``data/synonyms.yaml``, frozen as nested tuples."""

    tables: tuple[tuple[str, tuple[tuple[str, tuple[str, ...]], ...]], ...] = ()

    @classmethod
    def from_document(cls, document: object, path: str) -> Synonyms:
        """Read the synonyms of a workspace: tables of names, each with a list of phrases.

        Raises UserError that names the place of a mistake.
        """
        if not isinstance(document, dict):
            raise UserError(f"{path}: expected a map with any of {', '.join(TABLES)}")
        return cls(tuple((name, _table(document[name], name, path)) for name in document))

    def phrases(self, table: str, name: str) -> Iterator[str]:
        """Yield the phrases of a name, without alternatives: those of the workspace, then the package's own.

        >>> sorted(Synonyms((("segments", (("vip", ("[our] whales",)),)),)).phrases("segments", "vip"))[0]
        'our whales'
        """
        own = dict(dict(self.tables).get(table, ()))
        for phrase in (*own.get(name, ()), *_package(table, name)):
            yield from expanded(phrase)


def _table(raw: object, name: str, path: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if name not in TABLES:
        raise UserError(f"{path}.{name}: unknown key; expected one of {', '.join(TABLES)}")
    if not isinstance(raw, dict):
        raise UserError(f"{path}.{name}: expected a map of names to lists of phrases")
    for key, phrases in raw.items():
        if not isinstance(phrases, list) or not all(isinstance(each, str) for each in phrases):
            raise UserError(f"{path}.{name}.{key}: expected a list of phrases")
    return tuple((str(key), tuple(phrases)) for key, phrases in raw.items())


@lru_cache(maxsize=1)
def _lowered() -> Mapping[str, Mapping[str, Any]]:
    tables = load_table("synonyms.yaml")
    return {table: {name.lower(): phrases for name, phrases in tables[table].items()} for table in TABLES}


def _package(table: str, name: str) -> tuple[str, ...]:
    return tuple(str(phrase) for phrase in _lowered()[table].get(name.lower(), ()))


@lru_cache(maxsize=4_096)
def expanded(phrase: str) -> tuple[str, ...]:
    """Return a phrase with each choice of its alternatives, at most ``MAX_EXPANDED``.

    >>> expanded("{view|see} [our] product")
    ('view our product', 'view product', 'see our product', 'see product')
    """
    parts = [_choices(part) for part in _ALTERNATIVES.split(phrase) if part.strip()]
    texts = (" ".join(" ".join(chosen).split()) for chosen in product(*parts))
    return tuple(dict.fromkeys(text for text, _ in zip(texts, range(MAX_EXPANDED), strict=False)))


def _choices(part: str) -> list[str]:
    if part.startswith("{"):
        return part[1:-1].split("|")
    return [*part[1:-1].split("|"), ""] if part.startswith("[") else [part.strip()]
