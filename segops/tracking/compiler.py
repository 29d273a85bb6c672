"""Tracking plans compiled: what an event violates, found in microseconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, Final, NamedTuple

import fastjsonschema
from fastjsonschema import JsonSchemaValueException, JsonSchemaValuesException

from segops.core.errors import DefinitionError, Issue
from segops.schemas.shown import shown_name, shown_path
from segops.tracking.formats import FORMATS, matching
from segops.tracking.model import CALLS, Mode, PlannedEvent, PropertyMode, Schema, TrackingPlan

#: The label ``event`` of violations by events that no plan names: senders choose names, plans bound them.
UNKNOWN: Final = "(unknown)"
_MAX_VIOLATIONS: Final = 10
_MAX_EXPECTED: Final = 120
_TYPES: Final = {
    str: "string",
    bool: "boolean",
    int: "number",
    float: "number",
    dict: "object",
    list: "array",
}
_REASONS: Final = {"type": "type", "required": "missing", "additionalProperties": "unknown_property"}


class Violation(NamedTuple):
    """Where an event differs from its plan. No part of it is a value of the event."""

    reason: str
    path: str
    expected: str
    got: str

    def __str__(self) -> str:
        return f"{self.path}: expected {self.expected}, got {self.got}"


class Verdict(NamedTuple):
    """What an event that violates its plan is: rejected, or accepted without the paths in ``omitted``."""

    event: str
    violations: list[Violation]
    rejected: bool
    omitted: frozenset[str] = frozenset()

    @property
    def action(self) -> str:
        """``rejected``, ``omitted`` or ``warned``."""
        if self.rejected:
            return "rejected"
        return "omitted" if self.omitted else "warned"


class CompiledPlan:
    """Checks the events of one source."""

    def __init__(self, plan: TrackingPlan) -> None:
        self.plan = plan
        self._events = {name: _CompiledEvent(event, "properties") for name, event in plan.events.items()}
        self._calls = {name: _CompiledEvent(event, CALLS[name]) for name, event in plan.calls.items()}

    def check(self, kind: str, name: str, fields: Mapping[str, Any]) -> Verdict | None:
        """Return what an event violates, or None. ``fields`` has its ``properties`` and ``traits``."""
        planned = self._events.get(name) if kind == "track" else self._calls.get(kind)
        if planned is not None:
            return planned.check(name, fields)
        mode = self.plan.unknown_events
        if kind != "track" or mode == "allow":
            return None
        found = Violation("unknown_event", "event", "an event of the plan", shown_name(name))
        return Verdict(UNKNOWN, [found], mode == "reject")


class _CompiledEvent:
    def __init__(self, planned: PlannedEvent, field: str) -> None:
        self._field = field
        self._mode: Mode = planned.violations
        self._unknown: PropertyMode = "allow" if planned.schema is None else planned.unknown_properties
        self._schema = planned.schema
        self._names = frozenset[str]() if planned.schema is None else planned.schema.names
        self._validate = None
        if planned.schema is not None and planned.violations != "allow":
            self._validate = compiled(planned.schema)

    def check(self, name: str, fields: Mapping[str, Any]) -> Verdict | None:
        values = fields.get(self._field) or {}
        wrong = not self._conforms(values)
        unknown = () if self._unknown == "allow" else values.keys() - self._names
        if not wrong and not unknown:
            return None
        found = list(self._violations(values)) if wrong else []
        found += [
            Violation(
                "unknown_property",
                f"{self._field}.{shown_name(each)}",
                "a property of the plan",
                _type(values[each]),
            )
            for each in sorted(unknown)[:_MAX_VIOLATIONS]
        ]
        rejected = (wrong and self._mode == "reject") or (bool(unknown) and self._unknown == "reject")
        omitted = frozenset[str]()
        if self._unknown == "omit" and not rejected:
            omitted = frozenset(f"{self._field}.{each}" for each in unknown)
        return Verdict(name, found[:_MAX_VIOLATIONS], rejected, omitted)

    def _conforms(self, values: Any) -> bool:
        if self._validate is None:
            return True
        try:
            self._validate(values)
        except (JsonSchemaValueException, RecursionError, ArithmeticError):
            return False
        return True

    def _violations(self, values: Any) -> Iterator[Violation]:
        try:
            self._explain(values)
        except JsonSchemaValuesException as error:
            for each in error.errors[:_MAX_VIOLATIONS]:
                yield from self._described(each)
        except (RecursionError, ArithmeticError):
            yield Violation("value", self._field, "a value that can be checked", _type(values))

    @cached_property
    def _explain(self) -> Callable[[Any], Any]:
        """The validator that goes on after the first violation; compiled when there is one."""
        assert self._schema is not None  # noqa: S101 - events without a schema have no violations
        return compiled(self._schema, all_errors=True)

    def _described(self, error: JsonSchemaValueException) -> Iterator[Violation]:
        path, rule = self._field + (error.name or "data").removeprefix("data"), error.rule or ""
        definition = error.definition if isinstance(error.definition, dict) else {}
        path, value = shown_path(path), error.value
        if rule == "required":
            for name in definition.get("required", ()):
                if name not in value:
                    yield Violation("missing", f"{path}.{shown_name(name)}", "a value", "nothing")
        elif rule == "additionalProperties":
            for name in sorted(value.keys() - definition.get("properties", {}).keys()):
                yield Violation(
                    "unknown_property",
                    f"{path}.{shown_name(name)}",
                    "a property of the schema",
                    _type(value[name]),
                )
        else:
            assert self._schema is not None  # noqa: S101 - see above
            expected = _expected(rule, definition.get(rule), self._schema)
            yield Violation(_REASONS.get(rule, "value"), path, expected, _type(value))


def compiled(schema: Schema, *, all_errors: bool = False) -> Callable[[Any], Any]:
    """Return the validator of a schema. Raises JsonSchemaDefinitionException for a contradiction in it."""
    formats = {**FORMATS, **{name: matching(text) for name, text in schema.patterns.items()}}
    validator: Callable[[Any], Any] = fastjsonschema.compile(
        dict(schema.definition),
        handlers=_NOTHING_IS_FETCHED,
        formats=formats,
        use_default=False,
        detailed_exceptions=all_errors,
        fast_fail=not all_errors,
    )
    return validator


def compile_plan(plan: TrackingPlan) -> CompiledPlan:
    """Compile a plan. Raises DefinitionError for a schema that contradicts itself."""
    try:
        return CompiledPlan(plan)
    except (fastjsonschema.JsonSchemaDefinitionException, RecursionError, SyntaxError, ValueError) as error:
        raise DefinitionError([Issue("tracking plan", plan.source, f"invalid schema: {error}")]) from None


def _refuse(uri: str) -> Any:
    raise ValueError(f"nothing is fetched: {uri}")


_NOTHING_IS_FETCHED: Final = dict.fromkeys(("http", "https", "ftp", "file", ""), _refuse)


def _type(value: object) -> str:
    return _TYPES.get(value.__class__, "null")


def _expected(rule: str, operand: Any, schema: Schema) -> str:
    """Return what a keyword asks for, in the words of the plan."""
    if rule == "type":
        text = " or ".join([operand] if isinstance(operand, str) else operand)
    elif rule == "format":
        text = f"pattern {schema.patterns[operand]}" if operand in schema.patterns else f"format {operand}"
    elif rule == "enum":
        text = f"one of {', '.join(map(str, operand[:10]))}{', …' if len(operand) > 10 else ''}"
    elif isinstance(operand, str | int | float):
        text = f"{rule} {operand}"
    else:
        text = f"a match of {rule or 'the schema'}"
    return text if len(text) <= _MAX_EXPECTED else text[: _MAX_EXPECTED - 1] + "…"
