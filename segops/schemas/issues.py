"""Mistakes in files and forms that people write, as issues with their place."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from segops.core.errors import Issue


def unreadable(file: Path, error: Exception) -> Issue:
    """Return the issue for a file that is not valid YAML or JSON, with the line if known."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark, begun = error.problem_mark, error.context_mark
        reason = error.problem or str(error)
        if begun is not None and error.context:
            reason += f" ({error.context}, starting at line {begun.line + 1})"
        return Issue(str(file), _line(mark.line + 1, mark.column + 1), reason)
    if isinstance(error, json.JSONDecodeError):
        return Issue(str(file), _line(error.lineno, error.colno), error.msg)
    return Issue(str(file), "-", f"cannot be read: {error}")


def _line(line: int, column: int) -> str:
    return f"line {line}, column {column}"


def form_issues(source: str, path: str, error: ValidationError) -> list[Issue]:
    """Return the issues of a pydantic error, each with its path below ``path``."""
    return [Issue(source, format_location(path, detail["loc"]), _reason(detail)) for detail in error.errors()]


def _reason(detail: ErrorDetails) -> str:
    form = _REASONS.get(detail["type"])
    return detail["msg"] if form is None else form.format(input=detail["input"], **detail.get("ctx", {}))


#: Type of a pydantic error -> its message.
_REASONS = {
    "extra_forbidden": "unknown key",
    "missing": "missing key",
    "model_type": "expected a map, got {input!r:.40}",
    "dict_type": "expected a map, got {input!r:.40}",
    "list_type": "expected a list, got {input!r:.40}",
    "string_type": "expected a string, got {input!r:.40}",
    "bool_type": "expected true or false, got {input!r:.40}",
    "literal_error": "expected {expected}, got {input!r:.40}",
    "too_short": "expected a non-empty list",
    "string_pattern_mismatch": "expected at most 64 lower-case letters, digits and hyphens, such as vip-2",
}


def format_location(path: str, loc: tuple[int | str, ...]) -> str:
    """Format a location as a path: ``segments[0].when``."""
    for part in loc:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.lstrip(".") or "-"
