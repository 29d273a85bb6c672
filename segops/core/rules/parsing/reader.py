"""The reader of rules as written: a raw value with its path, read as the type expected there.

Every mistake is a DefinitionError that carries the path of the value. ``gather`` reads several values and
raises the mistakes of all of them together, so that one run reports everything that is wrong with a rule.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from functools import partial
from math import inf
from types import MappingProxyType
from typing import Any, Final, NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from segops.core.conversions import CONVERSIONS, Converted
from segops.core.errors import DefinitionError, Issue
from segops.core.features import ANY_NAME
from segops.core.geo import parse_length
from segops.core.operators import OPERATORS, Age, Anniversary, DateNumbers, Predicate, pattern
from segops.core.rules import model
from segops.core.rules.counts import COUNT_OPERATORS, threshold_verdict
from segops.core.rules.parsing.context import Context
from segops.core.rules.parsing.dates import read_age, read_months, read_weekdays
from segops.core.rules.parsing.elements import read_elements, read_number_of_elements
from segops.core.rules.parsing.events import ANY_EVENT, names_of, path_of_event, path_of_trait
from segops.core.values import exact, kind, parse_duration, parse_instant

#: Limit on the counts in one list: each is a boundary, and all boundaries are compared with all counts.
MAX_COUNTS = 1_000

#: Texts that do not name an event.
_NO_NAMES: Final = ("", ANY_EVENT, ANY_NAME)

#: Key -> the method that reads its value.
Reads = Mapping[str, Callable[["Reader"], Any]]


class Reader(msgspec.Struct):
    """A raw value at ``path`` of a rule.

    >>> Reader({"within": "2d"}, "when").at("within").duration()
    172800000
    >>> Reader("0h", "when.within", Context("shop.yaml")).positive_duration()
    Traceback (most recent call last):
    segops.core.errors.DefinitionError: shop.yaml: when.within: expected a duration above 0, got '0h'
    """

    raw: Any
    path: str
    context: Context = msgspec.field(default_factory=Context)

    # -- mistakes ------------------------------------------------------------------------------------------

    def fail(self, reason: str) -> NoReturn:
        """Raise DefinitionError with the path of the value and the reason."""
        raise DefinitionError([self._issue(reason)])

    def warn(self, reason: str) -> None:
        """Record a warning about the value; the rule stays valid."""
        self.context.warnings.append(self._issue(reason))

    def gather(self, *reads: Callable[[], Any]) -> list[Any]:
        """Call ``reads`` and return their results in order.

        Raises DefinitionError with the mistakes of all of them.

        >>> reader = Reader({"from": "x", "to": "y"}, "between")
        >>> try:
        ...     reader.gather(reader.at("from").duration, reader.at("to").duration)
        ... except DefinitionError as error:
        ...     print([issue.path for issue in error.issues])
        ['between.from', 'between.to']
        """
        found: list[Any] = []
        issues: list[Issue] = []
        for read in reads:
            try:
                found.append(read())
            except DefinitionError as error:
                issues += error.issues
                if self.context.exhausted:  # every further node would report the same limit
                    break
        if issues:
            raise DefinitionError(issues)
        return found

    def _issue(self, reason: str) -> Issue:
        return Issue(self.context.source, self.path, reason)

    # -- maps and lists ------------------------------------------------------------------------------------

    def __contains__(self, key: str) -> bool:
        return key in self.raw

    def at(self, key: Any, default: Any = None) -> Reader:
        """Return a reader of the value under ``key`` of a map; ``default`` replaces a missing value."""
        return Reader(self.raw.get(key, default), f"{self.path}.{key}", self.context)

    def with_raw(self, raw: Any) -> Reader:
        """Return a reader of another value at the same path."""
        return Reader(raw, self.path, self.context)

    def only(self, *allowed: str) -> None:
        """Raise DefinitionError for each key of a map that is not ``allowed``."""
        unknown = [key for key in self.raw if key not in allowed]
        if unknown:
            reason = f"unknown key; expected one of {', '.join(allowed)}"
            raise DefinitionError(
                [Issue(self.context.source, f"{self.path}.{key}", reason) for key in unknown]
            )

    def record(self, reads: Reads, example: str, optional: Reads = MappingProxyType({})) -> list[Any]:
        """Read a map that has every key of ``reads``, perhaps keys of ``optional``, and no others.

        Returns the values in the order of ``reads``, then of ``optional``; None for a missing optional key.
        """
        if not isinstance(self.raw, dict) or not all(key in self.raw for key in reads):
            *most, last = reads
            names = f"{', '.join(most)} and {last}" if most else last
            self.fail(f"expected a map with {names}, such as {example}")
        found = self._known({**reads, **optional})
        return [found.get(key) for key in (*reads, *optional)]

    def fields(self, reads: Reads) -> dict[str, Any]:
        """Read a map that has at least one key of ``reads`` and no others; return its values by key."""
        if not isinstance(self.raw, dict) or not self.raw:
            self.fail(f"expected a map with any of {', '.join(reads)}")
        return self._known(reads)

    def _known(self, reads: Reads) -> dict[str, Any]:
        known = [key for key in reads if key in self.raw]
        parts = [partial(reads[key], self.at(key)) for key in known]
        if len(known) == len(self.raw):
            return dict(zip(known, self.gather(*parts), strict=True))
        return dict(zip(known, self.gather(partial(self.only, *reads), *parts)[1:], strict=True))

    def items(self, expected: str, most: float = inf) -> list[Reader]:
        """Return the items of a list of 1 to ``most`` items, each at the path of its index."""
        items = self._list(expected, most)
        return [Reader(raw, f"{self.path}[{i}]", self.context) for i, raw in enumerate(items)]

    def values(self, expected: str, most: float = inf) -> list[Reader]:
        """Return the items of a list of 1 to ``most`` plain values, each at the path of the list."""
        return [Reader(raw, self.path, self.context) for raw in self._list(expected, most)]

    def _list(self, expected: str, most: float) -> list[Any]:
        if not isinstance(self.raw, list) or not 1 <= len(self.raw) <= most:
            self.fail(f"expected {expected}")
        return self.raw

    # -- plain values --------------------------------------------------------------------------------------

    def text(self) -> str:
        """Read a string."""
        if not isinstance(self.raw, str):
            self.fail(f"expected a string, got {self.raw!r}")
        return self.raw

    def boolean(self) -> bool:
        """Read true or false."""
        if not isinstance(self.raw, bool):
            self.fail(f"expected true or false, got {self.raw!r}")
        return self.raw

    def integer(self, least: int, most: float = inf, upper: str = "") -> int:
        """Read an integer from ``least`` to ``most``; ``upper`` names the upper bound in the message."""
        if type(self.raw) is not int or not least <= self.raw <= most:
            bounds = f"from {least} to {upper}" if upper else f"of at least {least}"
            self.fail(f"expected an integer {bounds}, got {self.raw!r}")
        return self.raw

    def number(self, low: float = -inf, high: float = inf, expected: str = "a number") -> Decimal:
        """Read a number from ``low`` to ``high``, exactly as written."""
        if kind(self.raw) != "number" or not low <= self.raw <= high:
            self.fail(f"expected {expected}, got {self.raw!r}")
        return exact(self.raw)

    def one_of(self, options: Collection[str]) -> str:
        """Read one of these strings."""
        if self.raw not in tuple(options):
            self.fail(f"expected one of {', '.join(options)}, got {self.raw!r}")
        return str(self.raw)

    def known(self, what: str, names: Collection[str]) -> str:
        """Read the name of a ``what`` (tier, score) that is one of ``names``."""
        if self.raw not in tuple(names):
            self.fail(f"unknown {what} {self.raw!r}; expected one of {', '.join(names)}")
        return str(self.raw)

    def duration(self) -> int:
        """Read a duration, 0 included; return milliseconds."""
        length_ms: int = self._parsed(parse_duration)
        return length_ms

    def positive_duration(self) -> int:
        """Read a duration above 0; return milliseconds."""
        length_ms = self.duration()
        if length_ms == 0:
            self.fail(f"expected a duration above 0, got {self.raw!r}")
        return length_ms

    def length(self) -> float:
        """Read a length above 0; return metres."""
        metres: float = self._parsed(parse_length)
        return metres

    def pattern(self) -> str:
        """Read a regular expression that runs in linear time."""
        self.text()
        self._parsed(pattern)
        return str(self.raw)

    def _parsed(self, parse: Callable[[Any], Any]) -> Any:
        try:
            return parse(self.raw)
        except ValueError as error:
            self.fail(str(error))

    def instant(self) -> int:
        """Read an ISO-8601 date or time, or a date that YAML has parsed; return epoch milliseconds."""
        text = self.raw.isoformat() if hasattr(self.raw, "isoformat") else self.raw
        ms = parse_instant(text) if isinstance(text, str) else None
        if ms is None:
            self.fail(f"expected an ISO-8601 date or time, got {self.raw!r}")
        return ms

    def zone(self) -> str:
        """Read the name of an IANA time zone."""
        try:
            return ZoneInfo(self.raw).key
        except (ZoneInfoNotFoundError, ValueError, OSError, TypeError):
            self.fail(f"unknown time zone {self.raw!r} (e.g. Europe/Paris)")

    # -- parts of nodes ------------------------------------------------------------------------------------

    def names(self) -> tuple[str, ...]:
        """Read an event name, or a non-empty list of them; return them sorted, without duplicates."""
        if isinstance(self.raw, str) and self.raw not in _NO_NAMES:
            return (self.raw,)
        return names_of(self)

    def property(self) -> model.Path:
        """Read a path of an event, such as ``cart.total`` or ``context.app.version``."""
        return path_of_event(self, self.raw)

    def trait(self) -> model.Path:
        """Read a path of a trait, such as ``plan.tier``."""
        return path_of_trait(self, self.raw)

    def where(self) -> tuple[tuple[model.Path, Predicate], ...]:
        """Read conditions on properties of an event; return them sorted by property."""
        if not isinstance(self.raw, dict) or not self.raw:
            self.fail("expected a non-empty map of properties to predicates")
        if len(self.raw) == 1:
            return (self._where(*self.raw),)
        return tuple(self.gather(*(partial(self._where, name) for name in sorted(self.raw, key=str))))

    def _where(self, name: Any) -> tuple[model.Path, Predicate]:
        condition = self.at(name)
        return path_of_event(condition, name), condition.condition()

    def condition(self, allowed: Collection[str] = OPERATORS) -> Predicate:
        """Read a predicate, or a bare value, which means equality."""
        if isinstance(self.raw, dict):
            return self.test() if allowed is OPERATORS else self.predicate(allowed)
        return self.with_raw({"eq": self.raw}).predicate(allowed)

    def test(self) -> Predicate:
        """Read a predicate of a value, with the conversion ``as`` if there is one."""
        if not isinstance(self.raw, dict) or "as" not in self.raw:
            return self.predicate()
        rest = self.with_raw({key: raw for key, raw in self.raw.items() if key != "as"})
        convert, found = self.gather(self.at("as").conversion, rest.predicate)
        return Converted(found.ops, convert)

    def conversion(self) -> str:
        """Read the name of a conversion."""
        return self.one_of(CONVERSIONS)

    def predicate(self, allowed: Collection[str] = OPERATORS) -> Predicate:
        """Read a map of operators, all of which must hold.

        >>> Reader({"gte": 3, "lt": 5}, "when.is").predicate()
        Predicate(ops=(('gte', 3), ('lt', 5)))
        """
        raw = self.raw
        if not isinstance(raw, dict):
            self.fail(f"expected a map of operators, such as {{gte: 3}}, got {raw!r}")
        names = [key for key in raw if key != "zone" or raw.keys().isdisjoint(ZONED)]
        if not names:
            self.fail("expected at least one operator")
        if len(names) == 1:
            return Predicate((self._operation(names[0], allowed),))
        names.sort(key=str)
        return Predicate(tuple(self.gather(*(partial(self._operation, name, allowed) for name in names))))

    def _operation(self, name: Any, allowed: Collection[str]) -> tuple[str, Any]:
        operand = self.at(name)
        if name not in allowed:
            operand.fail(f"unknown operator; expected one of {', '.join(allowed)}")
        if name in ZONED:
            read, make = ZONED[name]
            return name, make(*self.gather(partial(read, operand), self.at("zone", "UTC").zone))
        found = _OPERANDS[name](operand)
        if allowed is COUNT_OPERATORS:
            _check_counts(operand, found)
        return name, found

    def count(self, *, anchored: bool = False) -> Predicate:
        """Read a predicate that some counts satisfy and some do not; an ``anchored`` one may be missing."""
        found = self.predicate(COUNT_OPERATORS)
        verdict = threshold_verdict(found)
        if verdict == "always" and found.ops == (("gte", 0),):
            if not anchored:
                self.warn("always holds: a count is never below 0")
        elif verdict:
            self.fail(f"{verdict} holds: a count is an integer of at least 0")
        return found

    # -- operands ------------------------------------------------------------------------------------------

    def scalar(self) -> Any:
        """Read a finite number, a string or a boolean."""
        if kind(self.raw) not in ("number", "string", "boolean"):
            self.fail(f"expected a number, a string or a boolean, got {self.raw!r}")
        if self.raw != self.raw or self.raw in (inf, -inf):
            self.fail(f"expected a finite number, got {self.raw!r}")
        return self.raw

    def ordered(self) -> Any:
        """Read a number or a string."""
        if kind(self.scalar()) == "boolean":
            self.fail(f"expected a number or a string, got {self.raw!r}")
        return self.raw

    def scalars(self) -> tuple[Any, ...]:
        """Read a non-empty list of scalars."""
        return tuple([value.scalar() for value in self.values("a non-empty list of values")])

    def span(self) -> tuple[Any, Any]:
        """Read the lower and the upper bound of a range of numbers or of strings."""
        expected = "expected two values of one type, such as [10, 20]"
        if not isinstance(self.raw, list) or len(self.raw) != 2:
            self.fail(expected)
        low, high = (Reader(raw, self.path, self.context).ordered() for raw in self.raw)
        if kind(low) != kind(high):
            self.fail(expected)
        if low > high:
            self.fail(f"never holds: {low!r} is above {high!r}")
        return low, high


def _check_counts(reader: Reader, operand: Any) -> None:
    counts = operand if isinstance(operand, tuple) else (operand,)
    if len(counts) > MAX_COUNTS:
        reader.fail(f"expected at most {MAX_COUNTS:,} counts, got {len(counts):,}; use gte, lte or between")
    for count in counts:
        if type(count) is not int:
            reader.fail(f"expected an integer, got {count!r}")


#: Operator with a ``zone`` beside it -> the reader of its operand, and the class of both together.
ZONED: dict[str, tuple[Callable[[Reader], Any], Callable[..., Any]]] = {
    "anniversary_in_next": (Reader.positive_duration, Anniversary),
    "age_in_years": (read_age, Age),
    "weekday": (read_weekdays, DateNumbers),
    "month": (read_months, DateNumbers),
}

#: Other operator -> the reader of its operand.
_OPERANDS: dict[str, Callable[[Reader], Any]] = {
    "eq": Reader.scalar,
    "ne": Reader.scalar,
    "in": Reader.scalars,
    "not_in": Reader.scalars,
    "lt": Reader.ordered,
    "lte": Reader.ordered,
    "gt": Reader.ordered,
    "gte": Reader.ordered,
    "between": Reader.span,
    "contains": Reader.text,
    "starts_with": Reader.text,
    "ends_with": Reader.text,
    "matches": Reader.pattern,
    "includes": Reader.scalar,
    **dict.fromkeys(("any", "all", "none"), read_elements),
    "count": read_number_of_elements,
    "exists": Reader.boolean,
    "before": Reader.instant,
    "after": Reader.instant,
    "in_last": Reader.positive_duration,
    "in_next": Reader.positive_duration,
    "older_than": Reader.duration,
    "newer_than": Reader.positive_duration,
}
