"""The JSON Schema of the nodes about the rhythm of events: active days, sessions, regularity, lifecycle."""

from __future__ import annotations

from segops.core.features.periods import STAGES
from segops.core.rules.parsing import DURATION_OPERATORS, MAX_PERIODS, NUMBERS, TIME_KEYS, VALUES, WHICH
from segops.schemas.json_schema_values import (
    DURATION,
    PATH,
    POSITIVE,
    SCALAR,
    STRING,
    Schema,
    list_of,
    map_of,
    pair_of,
    ref,
    where_of,
    windowed,
)


def active_schema(head: str) -> Schema:
    """Return the schema of ``active_days``, ``active_weeks`` or ``active_months``, as ``head`` says."""
    keys = {head: ref("names"), "where": ref("where"), "zone": STRING, "is": ref("count")}
    return windowed(map_of((head, "is"), **keys, time_of_day=ref("time of day")), TIME_KEYS)


def _of_sessions() -> dict[str, Schema]:
    return {**_settled(), "gap": POSITIVE}


def _settled() -> dict[str, Schema]:
    return {"where": where_of([SCALAR, ref("settled")], 1), "time_of_day": ref("time of day")}


def sessions_schema(head: str) -> Schema:
    """Return the schema of the node ``sessions``."""
    form = map_of((head, "is"), **{head: ref("names"), "is": ref("count")}, **_of_sessions())
    return windowed(form, TIME_KEYS)


def session_schema(head: str) -> Schema:
    """Return the schema of the node ``session``."""
    operands = {name: pair_of(DURATION) if name == "between" else DURATION for name in DURATION_OPERATORS}
    tests = {"duration": {**map_of((), **operands), "minProperties": 1}, "events": ref("count")}
    values = {"oneOf": [map_of((name,), **{name: PATH}) for name in VALUES]}
    forms = [*(({"const": name}, tests[name]) for name in NUMBERS), (values, ref("test"))]
    keys = {head: {"anyOf": [figure for figure, _ in forms]}, "of": ref("names"), "is": {"type": "object"}}
    kinds = [{"properties": {head: figure, "is": test}} for figure, test in forms]
    return {
        **map_of((head, "of", "is"), **keys, which={"enum": list(WHICH)}, **_of_sessions()),
        "oneOf": kinds,
    }


def regularly_schema(head: str) -> Schema:
    """Return the schema of the node ``regularly``."""
    k, of = ({"type": "integer", "minimum": least, "maximum": MAX_PERIODS} for least in (1, 2))
    keys = {head: ref("names"), **_settled(), "every": POSITIVE, "k": k, "of": of}
    return map_of((head, "every", "k", "of"), **keys)


def lifecycle_schema(head: str) -> Schema:
    """Return the schema of the node ``lifecycle``."""
    stages = {"anyOf": [{"enum": list(STAGES)}, list_of({"enum": list(STAGES)})]}
    keys = {"of": ref("names"), "period": POSITIVE, "is": stages, **_settled()}
    return map_of((head,), **{head: map_of(("of", "period", "is"), **keys)})
