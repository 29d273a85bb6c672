"""Files of tracking plans and the records of their topic, to and from validated plans."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from segops.core.errors import DefinitionError, Issue
from segops.core.rules.parsing import Context, Reader
from segops.schemas.issues import form_issues, unreadable
from segops.schemas.written import check_bounds, read_json, read_yaml
from segops.tracking.compiler import compile_plan
from segops.tracking.json_schema import read_schema
from segops.tracking.model import CALLS, MODES, PROPERTY_MODES, PlannedEvent, TrackingPlan

MAX_EVENTS: Final = 1_000
#: A published plan is one record, which a broker takes up to 1 MiB.
MAX_PLAN_BYTES: Final = 900_000
_SOURCE: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_KEYS: Final = ("source", "violations", "unknown_events", "unknown_properties", "events", *CALLS)
_EVENT_KEYS: Final = ("violations", "unknown_properties", "schema", "description")
_TOPIC: Final = "tracking-plans topic"


class PlanFileForm(BaseModel):
    """A file of tracking plans as written."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: int = Field(ge=1, le=1)
    plans: list[dict[Any, Any]] = Field(min_length=1)


class _Stored(msgspec.Struct):
    plan: dict[str, Any]
    at_ms: int


def load(path: Path) -> list[TrackingPlan]:
    """Load the plans of a file, and compile them once. Raises DefinitionError with all mistakes."""
    name = str(path)
    try:
        text = path.read_text("utf-8-sig")
        form = PlanFileForm.model_validate(read_json(text) if path.suffix == ".json" else read_yaml(text))
    except ValidationError as error:
        raise DefinitionError(form_issues(name, "", error)) from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise DefinitionError([unreadable(path, error)]) from None
    readers = [Reader(raw, f"plans[{i}]", Context(name)) for i, raw in enumerate(form.plans)]
    plans: list[TrackingPlan] = readers[0].gather(*(partial(_checked, each) for each in readers))
    sources = [plan.source for plan in plans]
    repeated = [i for i, source in enumerate(sources) if source in sources[:i]]
    if repeated:
        reason = "duplicate source"
        raise DefinitionError([Issue(name, f"plans[{i}].source", reason) for i in repeated])
    return plans


def encode(plan: TrackingPlan) -> bytes:
    """Encode the record that publishes a plan."""
    return msgspec.json.encode(_Stored(dict(plan.written), plan.at_ms))


def decode(value: bytes) -> TrackingPlan:
    """Decode a published plan. Raises DefinitionError for an invalid record: any client may write one."""
    try:
        stored = msgspec.json.decode(value, type=_Stored)
        check_bounds(stored.plan)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise DefinitionError([Issue(_TOPIC, "-", f"invalid record: {error}")]) from None
    plan = read_plan(Reader(stored.plan, "plan", Context(_TOPIC)))
    return msgspec.structs.replace(plan, at_ms=stored.at_ms)


def _checked(raw: Reader) -> TrackingPlan:
    plan = read_plan(raw)
    size = len(encode(plan))
    if size > MAX_PLAN_BYTES:
        raw.fail(f"expected at most {MAX_PLAN_BYTES:,} bytes as JSON, got {size:,}")
    try:
        compile_plan(plan)
    except DefinitionError as error:
        raw.fail(error.issues[0].reason)
    return plan


def read_plan(raw: Reader) -> TrackingPlan:
    """Read a plan. Raises DefinitionError with every mistake."""
    if not all(isinstance(key, str) for key in raw.raw):
        raw.fail("expected keys that are strings")
    raw.only(*_KEYS)
    source, mode, unknown_events, unknown = raw.gather(
        partial(_source, raw.at("source")),
        partial(raw.at("violations", "warn").one_of, MODES),
        partial(raw.at("unknown_events", "allow").one_of, MODES),
        partial(raw.at("unknown_properties", "allow").one_of, PROPERTY_MODES),
    )
    event = partial(_event, defaults={"violations": mode, "unknown_properties": unknown})
    calls = [call for call in CALLS if call in raw]
    events, *others = raw.gather(
        partial(_events, raw.at("events", {}), event), *(partial(event, raw.at(call)) for call in calls)
    )
    found = dict(zip(calls, others, strict=True))
    return TrackingPlan(source, events, found, unknown_events, written=raw.raw)


def _source(raw: Reader) -> str:
    if not isinstance(raw.raw, str) or _SOURCE.fullmatch(raw.raw) is None:
        raw.fail(f"expected the name of a source of the collector: a-z, 0-9 and -, got {raw.raw!r:.80}")
    return raw.raw


def _events(raw: Reader, event: partial[PlannedEvent]) -> dict[str, PlannedEvent]:
    if not isinstance(raw.raw, dict) or len(raw.raw) > MAX_EVENTS:
        raw.fail(f"expected a map of at most {MAX_EVENTS:,} names of events, got {raw.raw!r:.40}")
    names: Collection[Any] = list(raw.raw)
    odd = [name for name in names if not isinstance(name, str) or not 1 <= len(name) <= 200]
    if odd:
        raw.fail(f"expected names of 1 to 200 characters, got {odd[0]!r:.40}")
    return dict(zip(names, raw.gather(*(partial(event, raw.at(name)) for name in names)), strict=True))


def _event(raw: Reader, *, defaults: Mapping[str, str]) -> PlannedEvent:
    if raw.raw is None:  # `Signed Up:` alone
        raw = Reader({}, raw.path, raw.context)
    if not isinstance(raw.raw, dict):
        raw.fail(f"expected a map with any of {', '.join(_EVENT_KEYS)}, got {raw.raw!r:.40}")
    raw.only(*_EVENT_KEYS)
    mode, unknown, schema = raw.gather(
        partial(raw.at("violations", defaults["violations"]).one_of, MODES),
        partial(raw.at("unknown_properties", defaults["unknown_properties"]).one_of, PROPERTY_MODES),
        lambda: read_schema(raw.at("schema")) if "schema" in raw else None,
    )
    return PlannedEvent(mode, unknown, schema)
