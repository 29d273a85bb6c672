"""Records of definitions whose models stand beside them once are read back to the byte."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.core.errors import DefinitionError, UserError
from segops.core.segments import Definition
from segops.kafka.definitions import DefinitionLog
from segops.operations.plans import Detail, UnknownEffect, _question
from segops.operations.room import MAX_RECORD_BYTES, require_room
from segops.schemas.in_force import decode_in_force, encode_in_force, pack_definitions
from segops.schemas.models import read_model
from segops.schemas.planned import MAX_PLAN_BYTES, PlannedChange, PlannedEdit, decode_planned, encode_planned
from segops.schemas.scans import MAX_REQUEST_BYTES, PlanRequest, ScanRequest, decode_request, encode_request
from segops.schemas.segments import definition_to_record, inline
from segops.schemas.shared_models import shared, whole

_models = st.dictionaries(st.sampled_from("abc"), st.fixed_dictionaries({"version": st.integers(1, 3)}))
_records = st.fixed_dictionaries(
    {"key": st.text(max_size=4), "when": st.just({"did": '"models":'})}, optional={"models": _models}
).map(msgspec.json.encode)


@given(st.lists(st.one_of(_records, st.sampled_from([b"null", b'{"models":'])), max_size=6))
def test_records_are_read_back_to_the_byte(records: list[bytes]) -> None:
    readable = [each for each in records if each != b'{"models":']
    found = shared(readable)
    assert whole(found.records, found.models) == readable
    assert whole(map(msgspec.Raw, records), {}) == records


def test_a_missing_model_is_an_error() -> None:
    records, _ = shared([b'{"key":"a","models":{"buying":{"version":1}}}'])
    with pytest.raises(DefinitionError, match=r"missing models: buying\|"):
        whole(records, {})


def large(name: str, size: int = 390_000) -> dict[str, Any]:
    """Return the form of a model of trees of about so many bytes, whose numbers repeat rarely."""
    draw = random.Random(name)
    trees = [_tree(draw) for _ in range(size // 850)]
    figure = {"did": "View", "within": "30d"}
    form = {
        "name": name,
        "kind": "trees",
        "version": 1,
        "fitted_at": "2026-01-01T00:00:00Z",
        "link": "logistic",
    }
    return {**form, "features": [{"name": "views", "figure": figure}], "trees": trees}


def _tree(draw: random.Random) -> dict[str, Any]:
    """Return a tree of 850 bytes: each split has a leaf to its left, and the next one to its right."""
    splits = range(17)
    values = [round(draw.uniform(-1, 1), 9) for _ in range(36)]
    return {
        "feature": [*(n for _ in splits for n in (0, -1)), -1],
        "threshold": [*(n for split in splits for n in (values[split], 0)), 0],
        "left": [*(n for split in splits for n in (2 * split + 1, -1)), -1],
        "right": [*(n for split in splits for n in (2 * split + 2, -1)), -1],
        "value": [*(n for split in splits for n in (0, values[17 + split])), values[35]],
    }


def definitions(*rules: tuple[str, ...], size: int = 390_000) -> list[Definition]:
    """Return a definition for each tuple of names of large models, which its rule reads."""
    names = sorted({name for each in rules for name in each})
    models = {name: read_model(large(name, size), "m") for name in names}
    scores = {name: {} for name in names}
    written = [
        {"key": f"s{number}", "when": {"any": [{"score": name, "is": {"gte": 0.5}} for name in each]}}
        for number, each in enumerate(rules)
    ]
    return inline(written, "f", "segments", scores=scores, models=models)


def test_models_near_the_limit_travel_once() -> None:
    found = definitions(*[("one",)] * 3, ("one", "other"), size=300_000)
    records = [definition_to_record(each) for each in found]
    assert sum(map(len, records)) > MAX_REQUEST_BYTES
    request = encode_request(
        ScanRequest("id", 5, _question({}, {each.key: each for each in found}, Detail(), ""))
    )
    assert len(request) < MAX_REQUEST_BYTES
    ask = decode_request(request).ask
    assert isinstance(ask, PlanRequest)
    assert [definition_to_record(each) for each in ask.changed()] == records
    changes = tuple(
        PlannedChange(each.key, "added", 1, msgspec.Raw(record))
        for each, record in zip(found, records, strict=True)
    )
    planned = PlannedEdit("id", 5, "base", changes)
    assert len(encode_planned(planned)) < MAX_PLAN_BYTES
    assert decode_planned(encode_planned(planned)) == planned
    packed = pack_definitions(found)
    assert len(packed) < MAX_RECORD_BYTES
    back = decode_in_force(encode_in_force(packed, since_ms=1)).definitions
    assert [definition_to_record(each) for each in back] == records


def test_definitions_that_no_broker_takes_are_refused_with_the_sizes_of_their_models() -> None:
    (found,) = definitions(("one", "other", "third"))
    log = DefinitionLog()
    record = {b"s0": definition_to_record(found)}
    with pytest.raises(UserError, match=r"definition of s0 has 1,\d+,\d+ bytes \(models: one \d+,\d+, other"):
        require_room(log, record)
    with pytest.raises(UnknownEffect, match=r"bytes \(models: one 3\d+,\d+, other"):
        _question({}, {"s0": found}, Detail(), "")
    assert not log.live


def test_definitions_that_no_partition_can_record_together_are_refused() -> None:
    found = definitions(*[(f"m{number}",) for number in range(10)])
    log = DefinitionLog()
    for each in found[:-1]:
        log.apply(each.key.encode(), definition_to_record(each))
    last = {found[-1].key.encode(): definition_to_record(found[-1])}
    with pytest.raises(UserError, match=r"all definitions have 3,\d+,\d+ bytes .*compressed"):
        require_room(log, last)
    require_room(DefinitionLog(), last)
