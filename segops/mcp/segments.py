"""Tools about published segments: which there are, what their rules say, and how large they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pydantic import Field

from segops.analytics.intervals import HOUR_MS, MINUTE_MS
from segops.analytics.reader import reading_sizes
from segops.config import Settings
from segops.core.rules.analysis import costs
from segops.core.rules.model import Node, children
from segops.core.rules.wording import label
from segops.core.scans import with_references
from segops.core.segments import Definition, SegmentSet, references
from segops.kafka.definitions import DefinitionLog, read
from segops.mcp.tool import Answer, Form, Key, PageForm, Tool, unknown_segment
from segops.operations.definitions import dependants
from segops.operations.segments import measured

_STEP_MS: Final = HOUR_MS
_STEPS: Final = 24
_MAX_STEPS: Final = 200


class _Listed(PageForm):
    retired: bool = Field(default=False, description="Whether retired segments are listed, too.")


class _One(Form):
    key: Key = Field(description="The key of the segment.")


class _Several(PageForm):
    keys: list[Key] = Field(default=[], max_length=50, description="The segments; none: all, by page.")


class _Trend(_One):
    step_minutes: int = Field(default=_STEP_MS // MINUTE_MS, ge=1, le=10_080, description="Length of a step.")
    steps: int = Field(default=_STEPS, ge=1, le=_MAX_STEPS, description="How many steps up to now.")


def rule_lines(node: Node, depth: int = 0) -> Iterator[str]:
    """Yield a rule in words: a line for each node, those below it indented.

    >>> from segops.core.rules.model import InSegment, Not
    >>> list(rule_lines(Not(InSegment("vip"))))
    ['not', '  in segment vip']
    """
    yield "  " * depth + label(node)
    for child in children(node):
        yield from rule_lines(child, depth + 1)


async def _list(settings: Settings, form: _Listed) -> Answer:
    found = {each.key: each for each in await measured(settings) if form.retired or each.state != "retired"}
    keys, after = form.page(found)
    return {"segments": [found[key] for key in keys], "total": len(found), "next": after}


def published(log: DefinitionLog, key: str) -> Definition:
    """Return a published definition. Raises UserError for an unknown key."""
    found = log.live.get(key)
    if found is None:
        raise unknown_segment(key)
    return found


async def _read(settings: Settings, form: _One) -> Answer:
    log = await read(settings)
    found = published(log, form.key)
    return {
        "key": found.key,
        "name": found.name,
        "description": found.description,
        "version": found.version,
        "paused": found.paused,
        "exposed": found.expose,
        "rule": found.written,
        "membership": found.policy,
        "refers_to": sorted(set(references(found.when))),
        "used_by": dependants(log.live.values()).get(found.key, []),
    }


async def _explain(settings: Settings, form: _One) -> Answer:
    log = await read(settings)
    found = published(log, form.key)
    return {"key": found.key, "version": found.version, **explained(found, log)}


def explained(found: Definition, log: DefinitionLog) -> dict[str, Any]:
    """Return a rule in words, and what it costs beside the published segments that it refers to."""
    known = {each.key: each for each in log.definitions()} | {found.key: found}
    wanted = with_references([found.key], known)
    cost = next(each for each in costs(SegmentSet(wanted)).segments if each.segment_key == found.key)
    return {"words": list(rule_lines(found.when)), "cost": cost}


async def _sizes(settings: Settings, form: _Several) -> Answer:
    async with reading_sizes(settings) as reader:
        sizes = reader.folded
        for key in form.keys:
            if sizes.segment(key) is None:
                raise unknown_segment(key)
        keys, after = form.page(form.keys or sizes.keys)
        return {"as_of": sizes.as_of, "segments": [sizes.segment(key) for key in keys], "next": after}


async def _trend(settings: Settings, form: _Trend) -> Answer:
    async with reading_sizes(settings) as reader:
        step_ms, now_ms = form.step_minutes * MINUTE_MS, reader.folded.as_of.greatest_ms or 0
        found = reader.folded.trend(form.key, step_ms, now_ms - form.steps * step_ms, None)
        if found is None:
            raise unknown_segment(form.key)
        return {"trend": found}


TOOLS: Final = (
    Tool(
        "list_segments",
        "List segments",
        "List the published segments: version, state, members now, change in 24 hours, who uses them.",
        _Listed,
        _list,
    ),
    Tool(
        "read_segment",
        "Read a segment",
        "Read the definition of a published segment: its rule as written, its limits, what it refers to.",
        _One,
        _read,
    ),
    Tool(
        "explain_segment",
        "Explain a segment",
        "Say in words what the rule of a published segment means, and what it costs per profile.",
        _One,
        _explain,
    ),
    Tool(
        "segment_sizes",
        "Sizes of segments",
        "Show the sizes of segments now, with their entries and exits of the last hour, day and week.",
        _Several,
        _sizes,
    ),
    Tool(
        "segment_trend",
        "Trend of a segment",
        "Show the size, entries and exits of a segment over time: minutes of a day, hours of 30 days.",
        _Trend,
        _trend,
    ),
)
