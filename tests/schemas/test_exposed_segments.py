"""The key ``expose`` of a segment: what is read, refused and published; it is no part of the meaning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from segops.core.errors import DefinitionError
from segops.core.segments import Definition, SegmentSet
from segops.kafka.definitions import DefinitionLog
from segops.operations.definitions import plan, plan_pause
from segops.schemas import json_schema
from segops.schemas.in_force import pack_definitions, unpack_definitions
from segops.schemas.segments import definition_from_record, definition_to_record, load

VALIDATOR = Draft202012Validator(json_schema.json_schema())


def file(**keys: Any) -> dict[str, Any]:
    return {"version": 1, "segments": [{"key": "vip", "when": {"did": "A", "within": "7d"}, **keys}]}


def loaded(folder: Path, **keys: Any) -> Definition:
    path = folder / "segments.json"
    path.write_text(json.dumps(file(**keys)))
    (found,) = load([path])
    return found


def test_a_segment_is_exposed_only_if_it_says_so(tmp_path: Path) -> None:
    assert loaded(tmp_path, expose=True).expose
    assert not loaded(tmp_path).expose
    assert not loaded(tmp_path, expose=False).expose


@pytest.mark.parametrize("written", [None, 1, "true", [True]])
def test_other_values_are_refused_with_file_and_path(written: Any, tmp_path: Path) -> None:
    with pytest.raises(DefinitionError) as raised:
        loaded(tmp_path, expose=written)
    (issue,) = raised.value.issues
    assert (issue.source, issue.path) == (str(tmp_path / "segments.json"), "segments[0].expose")
    assert issue.reason == f"expected true or false, got {written!r}"
    assert not VALIDATOR.is_valid(file(expose=written))


def test_the_schema_for_editors_accepts_it() -> None:
    assert VALIDATOR.is_valid(file(expose=True)) and VALIDATOR.is_valid(file(expose=False))


@pytest.mark.parametrize("expose", [True, False])
def test_the_published_record_says_it_and_is_read_again(tmp_path: Path, expose: bool) -> None:
    definition = loaded(tmp_path, expose=expose)
    record = definition_to_record(definition)
    assert msgspec.json.decode(record).get("expose", False) is expose
    again = definition_from_record(record)
    assert again is not None and again.expose is expose
    (stored,) = unpack_definitions(pack_definitions([definition]))
    assert stored.expose is expose


def test_a_change_of_it_alone_is_published_and_evaluates_no_profile_again(tmp_path: Path) -> None:
    former, later = loaded(tmp_path), loaded(tmp_path, expose=True)
    log = DefinitionLog()
    log.apply(b"vip", definition_to_record(former))
    (change,) = plan(log, [later], prune=False)
    assert (change.action, change.version, change.waits) == ("described", 1, False)
    assert change.record is not None and log.apply(b"vip", change.record)
    assert log.live["vip"].expose
    assert former.identity == later.identity
    before = SegmentSet([former])
    after = SegmentSet([later], before)
    assert after.version == before.version
    assert after.changed_since[before.version] == frozenset()
    (unchanged,) = plan(log, [later], prune=False)
    assert unchanged.action == "unchanged"


def test_a_paused_segment_stays_exposed(tmp_path: Path) -> None:
    log = DefinitionLog()
    log.apply(b"vip", definition_to_record(loaded(tmp_path, expose=True)))
    (change,) = plan_pause(log, ["vip"], paused=True)
    assert change.record is not None
    log.apply(b"vip", change.record)
    assert log.live["vip"].expose and log.live["vip"].paused
