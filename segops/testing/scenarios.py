"""The scenario runner: tests for segments, run on the engine without Kafka."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from segops.core.events import Change, Event
from segops.core.segments import SegmentSet
from segops.core.values import MAX_MS, format_instant
from segops.replay import Publication, Replay
from segops.schemas.scenario_steps import ScenarioStep
from segops.schemas.scenarios import Scenario


class Difference(msgspec.Struct, frozen=True):
    """A mismatch. ``lines`` begin with ``-`` (expected), ``+`` (actual) or a space (both)."""

    title: str
    lines: tuple[str, ...]


class ScenarioResult(msgspec.Struct, frozen=True):
    """The result of a scenario, which ends at the first step with a mismatch.

    ``before`` holds the changes of the preceding steps.
    """

    scenario: Scenario
    step: ScenarioStep
    clock_ms: int
    differences: tuple[Difference, ...]
    before: tuple[Change, ...]

    @property
    def passed(self) -> bool:
        """Whether every step was as expected."""
        return not self.differences


def run_scenario(scenario: Scenario) -> ScenarioResult:
    """Run a scenario on an engine of its own."""
    replay = Replay(scenario.segments, wall_ms=MAX_MS)
    replay.clock_ms = scenario.start_ms
    history: list[_Past] = []
    before: list[Change] = []
    for step in scenario.steps:
        failures = replay.failures
        changes = list(_apply(step, replay, history))
        differences = [*_differences(step, changes, replay), *_failed(replay.failures - failures)]
        if differences:
            break
        before += changes
    return ScenarioResult(scenario, step, replay.clock_ms, tuple(differences), tuple(before))


class _Past(msgspec.Struct, frozen=True):
    """An event of the steps so far, the profile it was sent to, and the clock at its arrival."""

    profile_id: str
    event: Event
    arrival_ms: int


def _apply(step: ScenarioStep, replay: Replay, history: list[_Past]) -> Iterator[Change]:
    yield from replay.advance(step.at_ms)
    for listing in step.listings:
        yield from replay.put_on_list(*listing)
    if step.segments is not None:
        yield from _adopt(step.segments, replay, history)
    for line, default_id in step.events:
        profile_id, event = replay.read(line, default_id=default_id)
        history.append(_Past(profile_id, event, replay.clock_ms or 0))
        yield from replay.apply(profile_id, event)


def _adopt(segments: SegmentSet, replay: Replay, history: Sequence[_Past]) -> Iterator[Change]:
    """Go over to other segments, and fill the features that profiles lack from all events so far."""
    publication = Publication(replay, segments)
    for past in history:
        publication.note(past.profile_id, past.event, arrival_ms=past.arrival_ms)
    yield from publication.adopt()


def _failed(rules: int) -> Iterator[Difference]:
    if rules:
        yield Difference("rules that failed to evaluate, leaving memberships unchanged", (f"+ {rules}",))


def _differences(step: ScenarioStep, changes: Sequence[Change], replay: Replay) -> Iterator[Difference]:
    if step.expect is not None:
        expected = [f"{action:<7} {key}" for action, key in step.expect]
        yield from _compare("expect", expected, sorted(f"{c.action:<7} {c.segment_key}" for c in changes))
    if step.changes is not None:
        yield from _compare(
            "changes", [_line(fields) for fields in step.changes], _lines(changes, step.changes)
        )
    for profile_id, keys in (step.members or {}).items():
        profile = replay.profiles.get(profile_id)
        members = ["(no such profile yet)"] if profile is None else sorted(profile.members)
        yield from _compare(f"members of {profile_id}", list(keys), members)


def _compare(title: str, expected: list[str], actual: list[str]) -> Iterator[Difference]:
    if expected != actual:
        lines = difflib.ndiff(expected, actual)
        yield Difference(title, tuple(line for line in lines if not line.startswith("?")))


def fields_of(change: Change) -> Mapping[str, str]:
    """Return a change's fields as scenarios write them."""
    return {
        "action": change.action,
        "segment": change.segment_key,
        "profile": change.profile_id,
        "reason": change.reason,
        "occurred_at": format_instant(change.occurred_at),
        "flips_at": "never" if change.flips_at is None else format_instant(change.flips_at),
        "event_id": "none" if change.event_id is None else change.event_id,
    }


_SHOWN = ("action", "segment", "profile", "reason", "occurred_at")


def _lines(changes: Sequence[Change], expected: Sequence[Mapping[str, str]]) -> list[str]:
    """Format each change with the fields that the expected change at its position has."""
    names = [tuple(fields) for fields in expected]
    names += [names[-1] if names else _SHOWN] * (len(changes) - len(names))
    return [
        _line({name: value for name, value in fields_of(change).items() if name in named})
        for change, named in zip(changes, names, strict=False)
    ]


def _line(fields: Mapping[str, str]) -> str:
    begin = f"{fields['action']:<7} {fields['segment']}"
    return " ".join(
        [
            begin,
            *(f"{name}={fields[name]}" for name in (*_SHOWN[2:], "flips_at", "event_id") if name in fields),
        ]
    )
