"""The alert block of a segment: what is read, refused, published, and accepted by the schema for editors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from segops.core.errors import DefinitionError
from segops.core.rules.alerts import Alert
from segops.core.rules.parsing import Context, read_alerts
from segops.core.segments import Definition, SegmentSet
from segops.kafka.definitions import DefinitionLog
from segops.operations.definitions import plan
from segops.schemas import json_schema
from segops.schemas.segments import definition_from_record, definition_to_record, load

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
VALIDATOR = Draft202012Validator(json_schema.json_schema())
SIZE = {"size": "30%", "over": "1d"}


def read(block: Any) -> tuple[Alert, ...]:
    return read_alerts(block, "alert", Context())


def file(block: Any) -> dict[str, Any]:
    return {"version": 1, "segments": [{"key": "s", "when": {"did": "A"}, "alert": block}]}


def loaded(folder: Path, block: Any) -> Definition:
    path = folder / "s.json"
    path.write_text(json.dumps(file(block)))
    return load([path])[0]


@st.composite
def alerts(draw: Any) -> Alert:
    """Draw an alert of any kind."""
    figure = draw(st.sampled_from(["size", "members", "entries", "exits"]))
    whole_hours = st.integers(25, 168).map(lambda hours: hours * HOUR)
    window_ms = draw(st.integers(1, 1_440).map(lambda minutes: minutes * MINUTE) | whole_hours)
    if figure == "size":
        direction = draw(st.sampled_from(["", "+", "-"]))
        share = draw(st.integers(1, 10_000 if direction == "-" else 1_000_000))
        return Alert("size", window_ms, share, direction, draw(st.integers(1, 1_000)))
    low, high = sorted((draw(st.integers(1, 5_000)), draw(st.integers(1, 5_000))))
    low_only, high_only = draw(st.sampled_from([(True, True), (True, False), (False, True)]))
    return Alert(
        figure,
        0 if figure == "members" else window_ms,
        at_least=low if low_only else None,
        at_most=high if high_only else None,
    )


@given(st.lists(alerts(), min_size=1, max_size=10, unique=True))
def test_what_is_written_is_read_again_published_and_accepted_by_the_schema(listed: list[Alert]) -> None:
    block = [alert.written for alert in listed]
    assert read(block) == tuple(listed)
    assert read(block[0]) == (listed[0],)
    assert len({alert.text for alert in listed}) == len(listed)
    VALIDATOR.validate(file(block))
    VALIDATOR.validate(file(block[0]))
    record = {"key": "s", "version": 1, "when": {"did": "A"}, "alert": block}
    definition = definition_from_record(msgspec.json.encode(record))
    assert definition is not None and definition.alerts == tuple(listed)
    assert definition_from_record(definition_to_record(definition)) == definition


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"size": "2.50%", "over": "48h", "floor": 7}, Alert("size", 2 * DAY, 250, floor=7)),
        ({"size": "+300%", "over": "1h"}, Alert("size", HOUR, 30_000, "+")),
        ({"members": {"at_least": 1, "at_most": 1}}, Alert("members", at_least=1, at_most=1)),
        ({"exits": {"at_most": 0, "per": "5m"}}, Alert("exits", 5 * MINUTE, at_most=0)),
    ],
)
def test_blocks_are_read(block: Any, expected: Alert) -> None:
    assert read(block) == (expected,)


@pytest.mark.parametrize(
    ("block", "path", "reason"),
    [
        (None, "", "expected a map with one of size, members, entries, exits, such as"),
        ({}, "", "expected a map with one of size"),
        ([], "", "expected a list of 1 to 10 alerts"),
        ([SIZE] * 11, "", "expected a list of 1 to 10 alerts"),
        ([SIZE, {"size": "30.0%", "over": "24h"}], "[1]", "the same alert twice: size 30% over 1d"),
        ({**SIZE, "members": {"at_most": 1}}, "", "expected a map with one of"),
        ({**SIZE, "per": "1h"}, ".per", "unknown key; expected one of size, over, floor"),
        ({"size": "30%"}, "", "expected a map with size and over"),
        ({"size": 30, "over": "1d"}, ".size", "expected a percentage above 0%"),
        ({"size": "30", "over": "1d"}, ".size", "got '30'"),
        ({"size": "0%", "over": "1d"}, ".size", "expected a percentage above 0%"),
        ({"size": "1.005%", "over": "1d"}, ".size", "at most two decimals"),
        ({"size": "٣%", "over": "1d"}, ".size", "expected a percentage"),
        ({"size": "-101%", "over": "1d"}, ".size", "never holds: a size cannot fall by more than 100%"),
        ({"size": "30%", "over": "90s"}, ".over", "expected whole minutes, got '90s'"),
        ({"size": "30%", "over": "1501m"}, ".over", "expected whole hours, got '1501m'"),
        ({"size": "30%", "over": "8d"}, ".over", "expected at most 1w, got '8d'"),
        ({"size": "30%", "over": "0h"}, ".over", "expected a duration above 0, got '0h'"),
        ({**SIZE, "floor": 0}, ".floor", "expected an integer of at least 1, got 0"),
        ({"entries": {"at_most": 5}}, ".entries", "missing key per"),
        ({"entries": {"per": "1h"}}, ".entries", "expected at_least, at_most or both"),
        ({"members": {"at_most": 5, "per": "1h"}}, ".members.per", "unknown key"),
        ({"members": {"at_least": 0}}, ".members.at_least", "expected an integer of at least 1, got 0"),
        ({"members": {"at_most": -1}}, ".members.at_most", "expected an integer of at least 0, got -1"),
        (
            {"members": {"at_least": 9, "at_most": 8}},
            ".members",
            "always holds: at_least 9 is above at_most 8",
        ),
        ({"exits": 5}, ".exits", "expected a map with any of at_least, at_most, per"),
    ],
)
def test_mistakes_are_reported_with_file_path_and_reason(
    block: Any, path: str, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(DefinitionError) as raised:
        loaded(tmp_path, block)
    (issue,) = raised.value.issues
    assert (issue.source, issue.path) == (str(tmp_path / "s.json"), f"segments[0].alert{path}")
    assert reason in issue.reason


def test_all_mistakes_of_a_list_and_of_the_rule_are_reported_together(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        "version: 1\nsegments: [{key: s, when: {did: A, within: 0d}, "
        "alert: [{size: 30%, over: 90s}, {members: {}}]}]"
    )
    with pytest.raises(DefinitionError) as raised:
        load([path])
    assert [issue.path for issue in raised.value.issues] == [
        "segments[0].when.within",
        "segments[0].alert[0].over",
        "segments[0].alert[1].members",
    ]


@pytest.mark.parametrize(
    "block",
    [None, {}, [], {"size": "30%"}, {"size": 30, "over": "1d"}, {"members": {}}, {"exits": {"at_most": 1}}],
)
def test_the_schema_refuses_what_an_editor_can_see(block: Any) -> None:
    assert not VALIDATOR.is_valid(file(block))


def test_a_change_of_only_the_alerts_is_published_and_evaluates_no_profile_again(tmp_path: Path) -> None:
    former, later = loaded(tmp_path, SIZE), loaded(tmp_path, {"members": {"at_most": 5}})
    log = DefinitionLog()
    log.apply(b"s", definition_to_record(former))
    (change,) = plan(log, [later], prune=False)
    assert (change.action, change.version, change.waits) == ("described", 1, False)
    assert change.record is not None and log.apply(b"s", change.record)
    assert log.live["s"].alerts == later.alerts
    assert SegmentSet([later]).version == SegmentSet([former]).version
    assert (
        SegmentSet([later], SegmentSet([former])).changed_since[SegmentSet([former]).version] == frozenset()
    )
    (unchanged,) = plan(log, [later], prune=False)
    assert unchanged.action == "unchanged"
