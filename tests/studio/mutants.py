"""Rules that are nearly another rule: one limit, operator, duration, name or part is different."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from segops.core.values import parse_duration

Rule = dict[str, Any]
DURATION = re.compile(r"[0-9]+(ms|s|m|h|d|w)")
OPERATORS = {"gte": "gt", "gt": "gte", "lte": "lt", "lt": "lte", "eq": "ne", "ne": "eq"}
HEADS = {"did": "did_not", "did_not": "did", "first": "last", "last": "first", "any": "all", "all": "any"}
TESTS = {"is", "count", "where"}


def mutants(rule: Any) -> Iterator[Any]:
    """Yield the rules that differ from a rule at one place."""
    if isinstance(rule, dict):
        yield from _of_map(rule)
    elif isinstance(rule, list):
        for i, part in enumerate(rule):
            yield from ([*rule[:i], changed, *rule[i + 1 :]] for changed in mutants(part))
        if len(rule) > 1 and isinstance(rule[0], dict):
            yield from ([*rule[:i], *rule[i + 1 :]] for i in range(len(rule)))
    else:
        yield from _of_value(rule)


def _of_map(rule: Rule) -> Iterator[Rule]:
    for key, part in rule.items():
        yield from ({**rule, key: changed} for changed in mutants(part))
        for other in (OPERATORS.get(key), HEADS.get(key)):
            if other is not None and not (key in HEADS and "count" in rule):
                yield {other if name == key else name: value for name, value in rule.items()}
        if key in ("where", "within", "since", "count", "calendar"):
            yield {name: value for name, value in rule.items() if name != key}


def _of_value(value: Any) -> Iterator[Any]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value - 1, value + 1)
    elif isinstance(value, float):
        yield from (round(value - 0.1, 6), round(value + 0.1, 6))
    elif isinstance(value, str) and DURATION.fullmatch(value):
        ms = parse_duration(value)
        yield from (f"{ms - 1}ms", f"{ms + 1}ms", f"{ms + 86_400_000}ms")
    elif isinstance(value, str):
        yield f"{value}x"
