"""YAML and JSON files, read into plain values within limits.

An alias counts as much as the value it refers to, so that a few lines of nested aliases cannot expand to
billions of values. YAML scalars are read as authors expect: dates and ``18:30`` stay strings (YAML 1.1 would
read the latter as 1110).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from functools import lru_cache
from typing import Any, Final

import msgspec
import yaml

#: Limits of one file or record: nesting of maps and lists, and number of values.
MAX_DEPTH: Final = 200
MAX_VALUES: Final = 2_000_000
LEAST_INT: Final = -(1 << 63)
GREATEST_INT: Final = (1 << 64) - 1

_TOO_DEEP: Final = f"maps and lists nested more than {MAX_DEPTH} levels deep"
_TOO_MANY: Final = f"more than {MAX_VALUES:,} values, counting expanded aliases"
_SHOWN: Final = 24
#: The C loader if PyYAML was built with it: ten times as fast.
SAFE_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG: Final = "tag:yaml.org,2002:"
_LONE: Final = re.compile("[\ud800-\udfff]")
_OCTAL: Final = re.compile(r"[-+]?0[0-7_]+")


class _Merge:
    """The merge key ``<<``."""


def read_yaml(text: str) -> Any:
    """Read a YAML text of at most one document; return None for an empty text.

    >>> read_yaml("{since: 2026-01-01, at: 18:30, of: [1, yes, ~]}")
    {'since': '2026-01-01', 'at': '18:30', 'of': [1, True, None]}

    Raises yaml.YAMLError, with line and column if known.
    """
    return _Builder().build(_events(text))


def _events(text: str) -> Iterator[yaml.Event]:
    loader = SAFE_LOADER(text)
    try:
        while loader.check_event():
            yield loader.get_event()
    finally:
        loader.dispose()


def read_json(text: str) -> Any:
    """Read a JSON text. Raises ValueError for invalid JSON and beyond a limit."""
    try:
        value = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_no_number, parse_int=_whole_number
        )
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    check_bounds(value)
    return value


def check_bounds(value: Any) -> None:
    """Raise ValueError for a plain value beyond a limit: depth, size, 64-bit integers, valid Unicode."""
    level, count = [value], 0
    for _ in range(MAX_DEPTH + 1):
        count += len(level)
        if count > MAX_VALUES:
            raise ValueError(_TOO_MANY)
        level = [each for item in level for each in _below(item)]
        if not level:
            return
    raise ValueError(_TOO_DEEP)


def _below(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value
        yield from value.values()
    elif isinstance(value, list):
        yield from value
    elif value.__class__ is int:
        _in_range(value)
    elif value.__class__ is str:
        _whole_text(value)


def _whole_text(text: str) -> str:
    if not text.isascii() and _LONE.search(text):
        raise ValueError(f"lone surrogate in a string: {_short(ascii(text))}")
    return text


def _in_range(number: int) -> int:
    if not LEAST_INT <= number <= GREATEST_INT:
        raise ValueError("integer exceeds 64 bits")
    return number


def _whole_number(text: str) -> int:
    if len(text) > _SHOWN:
        raise ValueError(f"integer exceeds 64 bits: {_short(text)}")
    return _in_range(int(text))


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text):,} characters)"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        (key, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"duplicate key {key!r}")
    return found


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not valid JSON")


# -- scalars of YAML -------------------------------------------------------------------------------------


def _int(text: str) -> Any:
    if ":" in text:  # YAML 1.1 reads an integer of base 60; authors mean a time or a code
        return text
    if _OCTAL.fullmatch(text):
        raise ValueError(f"{_short(text)} is an octal number in YAML; quote it, or drop the leading zero")
    plain = text.replace("_", "")
    if len(plain) > 3 * _SHOWN:
        raise ValueError(f"integer exceeds 64 bits: {_short(text)}")
    return _in_range(int(plain, 0))


def _float(text: str) -> Any:
    if ":" in text:
        return text
    plain = text.replace("_", "").lower()
    return float(plain.replace(".inf", "inf").replace(".nan", "nan"))


#: Tag of a scalar -> its reader. Other tags are rejected.
_SCALARS: dict[str, Callable[[str], Any]] = {
    f"{_TAG}str": str,
    f"{_TAG}int": _int,
    f"{_TAG}float": _float,
    f"{_TAG}bool": lambda text: yaml.SafeLoader.bool_values[text.lower()],
    f"{_TAG}null": lambda text: None,
    f"{_TAG}timestamp": str,
    f"{_TAG}value": str,
    f"{_TAG}merge": lambda text: _Merge,
}
_IMPLICIT: Final = yaml.SafeLoader.yaml_implicit_resolvers


@lru_cache(maxsize=65_536)
def _plain(text: str) -> Any:
    for tag, pattern in _IMPLICIT.get(text[:1], ()):
        if pattern.match(text):
            return _SCALARS[tag](text)
    return text


def _scalar(event: yaml.ScalarEvent) -> Any:
    if event.tag is None or event.tag == "!":
        return _plain(event.value) if event.implicit[0] else _whole_text(event.value)
    read = _SCALARS.get(str(event.tag))
    if read is None:
        raise ValueError(f"unknown tag {event.tag}")
    try:
        return read(event.value)
    except (ValueError, KeyError):
        raise ValueError(f"invalid {event.tag.removeprefix(_TAG)} {_short(event.value)!r}") from None


# -- maps, lists and aliases -----------------------------------------------------------------------------


class _Part(msgspec.Struct, gc=False):
    """A value with its size: the values in it and the levels below it, aliases expanded."""

    value: Any
    weight: int = 1
    height: int = 0


class _Open(msgspec.Struct):
    """A map or list whose end has not been reached yet."""

    part: _Part
    mark: Any
    anchor: str | None
    merged: list[dict[Hashable, Any]] = []
    key: Any = None
    has_key: bool = False

    @property
    def awaits_key(self) -> bool:
        return self.part.value.__class__ is dict and not self.has_key


class _Builder:
    """Builds a value from the events of a YAML parser, without recursion."""

    def __init__(self) -> None:
        self._open: list[_Open] = []
        self._anchors: dict[str, _Part] = {}
        self._root: _Part | None = None
        self._total = 0

    def build(self, events: Iterator[yaml.Event]) -> Any:
        """Return the value of the only document; None without a document."""
        for event in events:
            take = _EVENTS.get(event.__class__)
            if take is not None:
                try:
                    take(self, event)
                except ValueError as error:
                    raise yaml.MarkedYAMLError(problem=str(error), problem_mark=_mark(event)) from None
        return None if self._root is None else self._root.value

    def document(self, event: yaml.Event) -> None:
        """Begin a document. Raises ValueError for a second one."""
        if self._root is not None:
            raise ValueError("expected one document, got a second one")

    def scalar(self, event: yaml.ScalarEvent) -> None:
        """Add a scalar."""
        value = _scalar(event)
        as_key = bool(self._open) and self._open[-1].awaits_key
        value = event.value if value is _Merge and not as_key else value
        self._weigh(1)
        if event.anchor:
            self._anchors[event.anchor] = _Part(value)
        self._put(value, 1, 0)

    def alias(self, event: yaml.AliasEvent) -> None:
        """Add the value that an alias refers to."""
        part = self._anchors.get(str(event.anchor))
        if part is None:
            raise ValueError(f"unknown alias *{event.anchor}: no complete value before it has that anchor")
        self._weigh(part.weight)
        if len(self._open) + part.height > MAX_DEPTH:
            raise ValueError(_TOO_DEEP)
        self._put(part.value, part.weight, part.height)

    def begin(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        """Begin a map or a list."""
        if event.tag not in (None, "!", f"{_TAG}map", f"{_TAG}seq"):
            raise ValueError(f"unknown tag {event.tag}")
        self._weigh(1)
        if len(self._open) >= MAX_DEPTH:
            raise ValueError(_TOO_DEEP)
        value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._open.append(_Open(_Part(value), _mark(event), event.anchor))

    def end(self, event: yaml.Event) -> None:
        """End the innermost map or list."""
        ended = self._open.pop()
        if ended.merged:
            merged = {key: value for each in reversed(ended.merged) for key, value in each.items()}
            ended.part.value = merged | ended.part.value
        if ended.anchor:
            self._anchors[ended.anchor] = ended.part
        self._put(ended.part.value, ended.part.weight, ended.part.height)

    def _weigh(self, weight: int) -> None:
        self._total += weight
        if self._total > MAX_VALUES:
            raise ValueError(_TOO_MANY)

    def _put(self, value: Any, weight: int, height: int) -> None:
        if not self._open:
            self._root = _Part(value)
            return
        around = self._open[-1]
        part = around.part
        part.weight += weight
        part.height = max(part.height, height + 1)
        if part.value.__class__ is list:
            part.value.append(value)
        elif around.has_key:
            around.has_key = False
            _set(around, around.key, value)
        else:
            _key(around, value)


def _mark(event: yaml.Event) -> Any:
    return event.start_mark  # its type depends on the loader


def _key(around: _Open, key: Any) -> None:
    if isinstance(key, (dict, list)):
        raise ValueError("expected a string as a key, got a map or a list")
    if key is not _Merge and key in around.part.value:
        problem = f"duplicate key {key!r}"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=around.mark)
    around.key, around.has_key = key, True


def _set(around: _Open, key: Any, value: Any) -> None:
    if key is not _Merge:
        around.part.value[key] = value
        return
    maps = value if isinstance(value, list) else [value]
    if not all(isinstance(each, dict) for each in maps):
        raise ValueError("expected a map or a list of maps after <<")
    around.merged += maps


_EVENTS: dict[type, Callable[[_Builder, Any], None]] = {
    yaml.DocumentStartEvent: _Builder.document,
    yaml.ScalarEvent: _Builder.scalar,
    yaml.AliasEvent: _Builder.alias,
    yaml.MappingStartEvent: _Builder.begin,
    yaml.SequenceStartEvent: _Builder.begin,
    yaml.MappingEndEvent: _Builder.end,
    yaml.SequenceEndEvent: _Builder.end,
}
