"""Normalising: from a request to tokens, each with its place in the request."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from typing import Final

from segops.studio.words import load_words, stem

#: Longer requests are cut: nothing that people say in a sentence needs more.
MAX_CHARACTERS: Final = 2_000

_TOKEN = re.compile(
    r"""
    (?P<date>\d{4}-\d{2}-\d{2}(?:[tT ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:[zZ]|[+-]\d{2}:?\d{2})?)?)
    | (?P<year>(?<!\w)['’]\d{2}(?![\d'’]))
    | (?P<below>(?<!\d\ )(?<![\w)])-(?=[€$£]?\d))
    | (?P<clock>\d{1,2}:\d{2}(?!\d))
    | (?P<number>\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d])|\d+(?:\.\d+)?)
    | (?P<means>\b[iI]\.\s?[eE]\.?,?|\b[eE]\.[gG]\.)
    | (?P<short>\b[wW]/(?:o\b)?)
    | (?P<quoted>"[^"\n]{1,80}"|“[^”\n]{1,80}”|«[^»\n]{1,80}»|(?<![\w])'[^'\n]{1,80}'(?![\w])|(?<![\w])‘[^’\n]{1,80}’(?![\w]))
    | (?P<name>[^\W\d_]\w*_\w+)
    | (?P<code>(?=\w*\d)[^\W\d_][^\W_]*)
    | (?P<word>[^\W\d_]+(?:['’][^\W\d_]+)*)
    | (?P<arrow>->|→)
    | (?P<comparison><=|>=|=<|=>|!=|<>|==|[<>=≤≥≠])
    | (?P<sign>\S)
    """,
    re.VERBOSE,
)
#: Words whose capital letters make them other words.
_CAPITALS: Final = {"US": "usa", "U.S": "usa"}
#: Characters -> what they are read as; a full stop and a line break end a sentence.
_SIGNS: Final = {
    "&": "and",
    "%": "percent",
    "€": "euro",
    "$": "dollar",
    "£": "pound",
    ";": ";",
    ":": ":",
    "(": "(",
    ")": ")",
    "[": "(",
    "]": ")",
    ",": ",",
    "+": "+",
    "?": "?",
    "/": "/",
    ".": ";",
    "!": ";",
    "—": ",",
    "–": "-",
    "-": "-",
    "×": "x",
}
_COMPARISONS: Final = {
    "<=": "at most",
    "=<": "at most",
    "≤": "at most",
    ">=": "at least",
    "=>": "at least",
    "≥": "at least",
    "<": "less than",
    ">": "more than",
    "=": "equal",
    "==": "equal",
    "!=": "not equal",
    "<>": "not equal",
    "≠": "not equal",
}


@dataclass(frozen=True, slots=True)
class Token:
    """A word, number, literal or sign: ``norm`` is how it is read, ``text`` how it was written."""

    text: str
    norm: str
    start: int
    end: int
    number: Decimal | None = None
    literal: bool = False
    #: Written with a capital letter though no sentence begins with it.
    name: bool = False

    @property
    def stem(self) -> str:
        """What the inflections of the word have in common."""
        return stem(self.norm)


def tokens_of(text: str) -> list[Token]:
    """Return the tokens of a request, contractions taken apart.

    >>> [token.norm for token in tokens_of("They haven't spent €1,000 in 48h")]
    ['they', 'have', 'not', 'spent', 'euro', '1000', 'in', '48', 'h']
    """
    found: list[Token] = []
    for match in _TOKEN.finditer(text[:MAX_CHARACTERS]):
        found.extend(_read(match, found))
    return [token for number, token in enumerate(found) if not _is_mark(found, number)]


def _read(match: re.Match[str], before: list[Token]) -> Iterator[Token]:
    token = Token(match[0], match[0].lower(), match.start(), match.end())
    yield from _READERS[match.lastgroup or "sign"](token, before)


def _word(token: Token, before: list[Token]) -> Iterator[Token]:
    if token.text in _CAPITALS:
        yield replace(token, norm=_CAPITALS[token.text], name=True)
        return
    begins = not before or before[-1].norm in (";", ":")
    for norm in _expanded(token.norm.replace("’", "'")):
        yield replace(token, norm=norm, name=token.text[0].isupper() and not begins)


def _number(token: Token, _before: list[Token]) -> Iterator[Token]:
    plain = token.text.replace(",", "")
    yield replace(token, norm=plain, number=Decimal(plain))


def _quoted(token: Token, _before: list[Token]) -> Iterator[Token]:
    yield replace(token, norm=token.text[1:-1].strip().lower(), literal=True)


def _comparison(token: Token, _before: list[Token]) -> Iterator[Token]:
    for norm in _COMPARISONS[token.text].split():
        yield replace(token, norm=norm)


def _sign(token: Token, _before: list[Token]) -> Iterator[Token]:
    if token.text in _SIGNS:
        yield replace(token, norm=_SIGNS[token.text])


_Reader = Callable[[Token, list[Token]], Iterator[Token]]


def _coded(token: Token) -> Token:
    """Read a word with digits as a name, unless it is a quarter of a year."""
    return token if re.fullmatch(r"q[1-4]", token.norm) else replace(token, literal=True, name=True)


#: What a pattern has found -> its reader.
_READERS: Final[Mapping[str, _Reader]] = {
    "date": lambda token, _before: iter((token,)),
    "clock": lambda token, _before: iter((token,)),
    "year": lambda token, _before: _number(replace(token, text=f"20{token.text[1:]}"), _before),
    "below": lambda token, _before: iter((replace(token, norm="negative"),)),
    "number": _number,
    "means": lambda token, _before: iter((replace(token, norm=":"),)),
    "short": lambda token, _before: iter(
        (replace(token, norm="without" if token.norm == "w/o" else "with"),)
    ),
    "quoted": _quoted,
    "name": lambda token, _before: iter((replace(token, name=True),)),
    "code": lambda token, _before: iter((_coded(token),)),
    "word": _word,
    "arrow": lambda token, _before: iter((replace(token, norm="then"),)),
    "comparison": _comparison,
    "sign": _sign,
}


def _is_mark(tokens: list[Token], number: int) -> bool:
    """Whether a sign only sets words apart: a hyphen within a word, the last full stop."""
    token = tokens[number]
    if token.norm == "-":
        neighbours = tokens[max(0, number - 1) : number + 2]
        return not (
            len(neighbours) == 3 and neighbours[0].number is not None and neighbours[2].number is not None
        )
    return token.norm in (";", "?") and number == len(tokens) - 1


@lru_cache(maxsize=1)
def _contractions() -> dict[str, tuple[str, ...]]:
    return {short: tuple(long.split()) for short, long in load_words()["contractions"].items()}


def _expanded(word: str) -> tuple[str, ...]:
    known = _contractions().get(word)
    if known is not None:
        return known
    if word.endswith("n't"):
        return word[:-3], "not"
    for ending, long in (("'ve", "have"), ("'ll", "will"), ("'d", "had"), ("'re", "are")):
        if word.endswith(ending):
            return word.removesuffix(ending), long
    return (word.removesuffix("'s").replace("'", ""),)


def reworded(token: Token, norm: str) -> Token:
    """Return the token read as another word."""
    return replace(token, norm=norm)
