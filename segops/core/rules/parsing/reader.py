"""The one reader of written rules: a value with its place, read as what is expected there.

Every mistake is a DefinitionError with the place of the value; ``gather`` reads several values and raises
the mistakes of all of them together, so that one run reports everything that is wrong with a rule.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from functools import partial
from math import inf
from types import MappingProxyType
from typing import Any, NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from segops.core.errors import DefinitionError, Issue
from segops.core.geo import parse_length
from segops.core.operators import OPERATORS, Anniversary, Predicate, pattern
from segops.core.rules import model
from segops.core.rules.counts import COUNT_OPERATORS, threshold_verdict
from segops.core.rules.parsing.context import Context
from segops.core.values import exact, kind, parse_duration, parse_instant

#: Counts in one list: each is a boundary, and all boundaries are compared with all counts.
MAX_COUNTS = 1_000

EMPTY_DURATION = "a duration of 0 holds nothing"
EMPTY_WINDOW = "a window of 0 holds nothing"


Reads = Mapping[str, Callable[["Reader"], Any]]


class Reader(msgspec.Struct):
    """A value as written, at ``path`` of the rule.

    >>> Reader({"within": "2d"}, "when").at("within").duration()
    172800000
    >>> Reader("0h", "when.within", Context("shop.yaml")).duration(EMPTY_WINDOW)
    Traceback (most recent call last):
    segops.core.errors.DefinitionError: shop.yaml: when.within: a window of 0 holds nothing
    """

    raw: Any
    path: str
    context: Context = msgspec.field(default_factory=Context)

    # -- mistakes ------------------------------------------------------------------------------------------

    def fail(self, reason: str) -> NoReturn:
        """Refuse the value. Raises DefinitionError with its place and the reason."""
        raise DefinitionError([self._issue(reason)])

    def warn(self, reason: str) -> None:
        """Report something about the value that does not make the rule invalid."""
        self.context.warnings.append(self._issue(reason))

    def gather(self, *reads: Callable[[], Any]) -> list[Any]:
        """The results of ``reads``, in order. Raises DefinitionError with the mistakes of all of them.

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
                if self.context.exhausted:  # the nodes that follow would report only that
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
        """The value of ``key`` in a map; of a key that is missing, ``default``."""
        return Reader(self.raw.get(key, default), f"{self.path}.{key}", self.context)

    def only(self, *allowed: str) -> None:
        """Refuse every other key of a map."""
        unknown = [key for key in self.raw if key not in allowed]
        if unknown:
            reason = f"unknown key; here: {', '.join(allowed)}"
            raise DefinitionError(
                [Issue(self.context.source, f"{self.path}.{key}", reason) for key in unknown]
            )

    def record(self, reads: Reads, example: str, optional: Reads = MappingProxyType({})) -> list[Any]:
        """What ``reads`` and ``optional`` make of the keys of a map with all of the former and no others.

        In their order; None for an optional key that is missing.
        """
        if not isinstance(self.raw, dict) or not all(key in self.raw for key in reads):
            *most, last = reads
            names = f"{', '.join(most)} and {last}" if most else last
            self.fail(f"a map of {names} is wanted, as in {example}")
        found = self._known({**reads, **optional})
        return [found.get(key) for key in (*reads, *optional)]

    def fields(self, reads: Reads) -> dict[str, Any]:
        """What ``reads`` make of the keys of a map that has at least one of theirs, and no others."""
        if not isinstance(self.raw, dict) or not self.raw:
            self.fail(f"a map of any of {', '.join(reads)} is wanted")
        return self._known(reads)

    def _known(self, reads: Reads) -> dict[str, Any]:
        known = [key for key in reads if key in self.raw]
        parts = (partial(reads[key], self.at(key)) for key in known)
        return dict(zip(known, self.gather(partial(self.only, *reads), *parts)[1:], strict=True))

    def items(self, wanted: str, most: float = inf) -> list[Reader]:
        """The items of a list that has at least one and at most ``most``, each at its number."""
        values = self.values(wanted, most)
        return [Reader(value.raw, f"{self.path}[{i}]", self.context) for i, value in enumerate(values)]

    def values(self, wanted: str, most: float = inf) -> list[Reader]:
        """Like ``items``, for a list of plain values: each at the place of the list."""
        if not isinstance(self.raw, list) or not 1 <= len(self.raw) <= most:
            self.fail(f"{wanted} is wanted")
        return [Reader(raw, self.path, self.context) for raw in self.raw]

    # -- plain values --------------------------------------------------------------------------------------

    def text(self) -> str:
        """A string."""
        if not isinstance(self.raw, str):
            self.fail(f"a text is wanted, not {self.raw!r}")
        return self.raw

    def boolean(self) -> bool:
        """True or False."""
        if not isinstance(self.raw, bool):
            self.fail(f"true or false is wanted, not {self.raw!r}")
        return self.raw

    def whole(self, least: int, most: float = inf, upto: str = "up") -> int:
        """An integer from ``least`` to ``most``; ``upto`` names the upper end."""
        if type(self.raw) is not int or not least <= self.raw <= most:
            self.fail(f"a whole number from {least} {upto} is wanted, not {self.raw!r}")
        return self.raw

    def number(self, low: float = -inf, high: float = inf, wanted: str = "a number is") -> Decimal:
        """A number from ``low`` to ``high``, exactly as written."""
        if kind(self.raw) != "number" or not low <= self.raw <= high:
            self.fail(f"{wanted} wanted, not {self.raw!r}")
        return exact(self.raw)

    def one_of(self, options: Collection[str]) -> str:
        """One of these strings."""
        if self.raw not in tuple(options):
            self.fail(f"one of {', '.join(options)} is wanted, not {self.raw!r}")
        return str(self.raw)

    def known(self, what: str, names: Collection[str]) -> str:
        """The name of ``what`` (a tier, a score), of which these are known."""
        if self.raw not in tuple(names):
            self.fail(f"there is no {what} {self.raw!r}; here: {', '.join(names)}")
        return str(self.raw)

    def duration(self, empty: str | None = None) -> int:
        """A length of time in milliseconds; ``empty`` is the reason to refuse one of 0."""
        length_ms: int = self._parsed(parse_duration)
        if length_ms == 0 and empty is not None:
            self.fail(empty)
        return length_ms

    def length(self) -> float:
        """A length in metres, above 0."""
        metres: float = self._parsed(parse_length)
        return metres

    def pattern(self) -> str:
        """A regular expression that is safe to run."""
        self.text()
        self._parsed(pattern)
        return str(self.raw)

    def _parsed(self, parse: Callable[[Any], Any]) -> Any:
        try:
            return parse(self.raw)
        except ValueError as error:
            self.fail(str(error))

    def instant(self) -> int:
        """The milliseconds since the epoch of an ISO-8601 date or time (YAML may give dates as such)."""
        text = self.raw.isoformat() if hasattr(self.raw, "isoformat") else self.raw
        ms = parse_instant(text) if isinstance(text, str) else None
        if ms is None:
            self.fail(f"{self.raw!r} is no ISO-8601 date or time")
        return ms

    def zone(self) -> str:
        """The name of a time zone that exists."""
        try:
            return ZoneInfo(self.raw).key
        except (ZoneInfoNotFoundError, ValueError, OSError, TypeError):
            self.fail(f"{self.raw!r} is no time zone; write one as in Europe/Paris")

    # -- parts of nodes ------------------------------------------------------------------------------------

    def names(self) -> tuple[str, ...]:
        """The names of events: one, or a list of at least one; sorted, each once."""
        names = self.raw if isinstance(self.raw, list) else [self.raw]
        if not names or not all(isinstance(name, str) and name for name in names):
            self.fail("the name of an event, or a list of at least one, is wanted")
        return tuple(sorted(set(names)))

    def property(self) -> model.Path:
        """The path of a property, such as ``cart.total``."""
        return _property(self, self.raw)

    def where(self) -> tuple[tuple[model.Path, Predicate], ...]:
        """Conditions on properties of an event, in the order of their names."""
        if not isinstance(self.raw, dict) or not self.raw:
            self.fail("a map of at least one property to a test is wanted")
        if len(self.raw) == 1:
            return (self._where(*self.raw),)
        return tuple(self.gather(*(partial(self._where, name) for name in sorted(self.raw, key=str))))

    def _where(self, name: Any) -> tuple[model.Path, Predicate]:
        condition = self.at(name)
        return _property(condition, name), condition.condition()

    def condition(self, allowed: Collection[str] = OPERATORS) -> Predicate:
        """A predicate, or a bare value for equality with it."""
        if isinstance(self.raw, dict):
            return self.predicate(allowed)
        operand = Reader(self.raw, f"{self.path}.eq", self.context)
        return Predicate((("eq", _operand("eq", operand, allowed)),))

    def predicate(self, allowed: Collection[str] = OPERATORS) -> Predicate:
        """A map of operators that must all hold.

        >>> Reader({"gte": 3, "lt": 5}, "when.is").predicate()
        Predicate(ops=(('gte', 3), ('lt', 5)))
        """
        raw = self.raw
        if not isinstance(raw, dict):
            self.fail(f"a map of operators is wanted, as in {{gte: 3}}, not {raw!r}")
        names = [key for key in raw if key != "zone" or "anniversary_in_next" not in raw]
        if not names:
            self.fail("a test has at least one operator")
        if len(names) == 1:
            return Predicate((self._operation(names[0], allowed),))
        names.sort(key=str)
        return Predicate(tuple(self.gather(*(partial(self._operation, name, allowed) for name in names))))

    def _operation(self, name: Any, allowed: Collection[str]) -> tuple[str, Any]:
        operand = self.at(name)
        if name not in allowed:
            operand.fail(f"unknown operator; here: {', '.join(allowed)}")
        if name == "anniversary_in_next":
            return name, Anniversary(
                *self.gather(partial(operand.duration, EMPTY_DURATION), self.at("zone", "UTC").zone)
            )
        return name, _operand(name, operand, allowed)

    def count(self) -> Predicate:
        """A predicate over whole numbers from 0 up that can both hold and fail."""
        found = self.predicate(COUNT_OPERATORS)
        verdict = threshold_verdict(found)
        if verdict == "always" and found.ops == (("gte", 0),):
            self.warn("always holds: a count is never below 0")
        elif verdict:
            self.fail(f"{verdict} holds: a count is a whole number from 0 up")
        return found

    # -- operands ------------------------------------------------------------------------------------------

    def scalar(self) -> Any:
        """A finite number, a string or a boolean."""
        if kind(self.raw) not in ("number", "string", "boolean"):
            self.fail(f"a number, a text or true or false is wanted, not {self.raw!r}")
        if self.raw != self.raw or self.raw in (inf, -inf):
            self.fail(f"{self.raw!r} is no number that an event can have")
        return self.raw

    def ordered(self) -> Any:
        """A number or a string."""
        if kind(self.scalar()) == "boolean":
            self.fail("true and false have no order")
        return self.raw

    def scalars(self) -> tuple[Any, ...]:
        """A list of at least one scalar."""
        return tuple([value.scalar() for value in self.values("a list of at least one value")])

    def span(self) -> tuple[Any, Any]:
        """The least and the greatest of a range of numbers or of strings."""
        wanted = "two values of one type are wanted, as in [10, 20]"
        if not isinstance(self.raw, list) or len(self.raw) != 2:
            self.fail(wanted)
        low, high = (Reader(raw, self.path, self.context).ordered() for raw in self.raw)
        if kind(low) != kind(high):
            self.fail(wanted)
        if low > high:
            self.fail(f"never holds: {low!r} is above {high!r}")
        return low, high


def _property(reader: Reader, raw: Any) -> model.Path:
    path = tuple(raw.split(".")) if isinstance(raw, str) else ("",)
    if not all(path):
        reader.fail("the path of a property is wanted, as in cart.total")
    return path


def _operand(name: str, operand: Reader, allowed: Collection[str]) -> Any:
    found = _OPERANDS[name](operand)
    if allowed is COUNT_OPERATORS:
        _check_counts(operand, found)
    return found


def _check_counts(reader: Reader, operand: Any) -> None:
    counts = operand if isinstance(operand, tuple) else (operand,)
    if len(counts) > MAX_COUNTS:
        reader.fail(f"at most {MAX_COUNTS:,} counts, not {len(counts):,}: say it by gte, lte or between")
    for count in counts:
        if type(count) is not int:
            reader.fail(f"a count is a whole number, not {count!r}")


def _positive(reader: Reader) -> int:
    return reader.duration(EMPTY_DURATION)


#: Operator -> what reads its operand. ``anniversary_in_next`` has a zone beside it and is read by itself.
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
    "exists": Reader.boolean,
    "before": Reader.instant,
    "after": Reader.instant,
    "in_last": _positive,
    "in_next": _positive,
    "older_than": Reader.duration,
    "newer_than": _positive,
}
