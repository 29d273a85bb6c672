"""From a template and values for its parameters to a segment, and to the file that holds it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from string import Template as Text
from typing import Any, Final

import yaml

from segops.core.errors import UserError
from segops.core.segments import Definition
from segops.core.values import parse_duration
from segops.schemas.segments import inline
from segops.templates.library import Kind, Parameter, Template

Value = str | int | float | None
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_WIDTH: Final = 100


def values_of(template: Template, given: Iterable[str]) -> dict[str, Value]:
    """Return the values of all parameters: those ``given`` as ``name=value``, else the defaults.

    Raises UserError with every parameter that is unknown or has an invalid value.
    """
    values: dict[str, Value] = {name: each.default for name, each in template.parameters.items()}
    problems = []
    for pair in given:
        name, equals, text = pair.partition("=")
        if not equals or name not in template.parameters:
            known = ", ".join(template.parameters) or "none"
            problems.append(f"{template.key} has no parameter {name!r}; its parameters: {known}")
            continue
        try:
            values[name] = _read(template.parameters[name], text)
        except ValueError as error:
            problems.append(f"{template.key}: invalid {name}: {error}")
    if problems:
        raise UserError("\n".join(problems))
    return values


def segment_file(template: Template, given: Iterable[str] = ()) -> str:
    """Return the segment file of a template as YAML, its purpose as a comment. Raises UserError."""
    values = values_of(template, given)
    written = {"version": 1, "segments": [_segment(template, values)]}
    text = yaml.safe_dump(written, sort_keys=False, allow_unicode=True, width=_WIDTH)
    return f"# {template.purpose}\n{text}"


def definition_of(template: Template, given: Iterable[str] = (), *, key: str | None = None) -> Definition:
    """Return the segment of a template, under its own ``key`` or another one.

    Raises UserError, and DefinitionError if the values make a rule that cannot hold.
    """
    written = _segment(template, values_of(template, given)) | {"key": key or template.key}
    (definition,) = inline([written], f"template {template.key}", "segments")
    return definition


def _segment(template: Template, values: Mapping[str, Value]) -> dict[str, Any]:
    return {
        "key": template.key,
        "name": template.name,
        "description": Text(template.description).substitute(values),
        "when": _filled(template.when, values),
    }


def _filled(written: Any, values: Mapping[str, Value]) -> Any:
    """Return a part of a rule with values for parameters; what has no value is left out of its mapping."""
    if isinstance(written, dict):
        found = {name: _filled(each, values) for name, each in written.items()}
        return {name: each for name, each in found.items() if each is not None and each != {}}
    if isinstance(written, list):
        return [_filled(each, values) for each in written]
    if isinstance(written, str) and written.startswith("$"):
        return values[written[1:]]
    return written


def _read(parameter: Parameter, text: str) -> Value:
    if not text and parameter.default is None:
        return None
    return _READERS[parameter.kind](text)


def _duration(text: str) -> str:
    if parse_duration(text) == 0:
        raise ValueError(f"expected a duration above 0, got {text!r}")
    return text


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 1_000_000):
        raise ValueError(f"expected a whole number from 1 to 1,000,000, got {text!r}")
    return int(text)


def _amount(text: str) -> int | float:
    if not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,4})?", text) or not float(text):
        raise ValueError(f"expected an amount above 0 such as 99.50, got {text!r}")
    return float(text) if "." in text else int(text)


def _currency(text: str) -> str:
    if not _CURRENCY.fullmatch(text):
        raise ValueError(f"expected an ISO 4217 code such as EUR, got {text!r}")
    return text


def _text(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError(f"expected printable text, got {text!r}")
    return text


_READERS: Final[Mapping[Kind, Callable[[str], Value]]] = {
    "duration": _duration,
    "count": _count,
    "amount": _amount,
    "currency": _currency,
    "text": _text,
}
