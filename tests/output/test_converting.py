"""What becomes of the records of the membership topics, without Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.config import load
from segops.kafka.topics import topic_specs
from segops.output import cloudevents, connect_json
from segops.output.converting import TopicCopy, convert_all, copies_of
from segops.output.copying import Written as Position
from segops.output.form import Form
from segops.output.leftovers import present
from segops.schemas.changes import encode_change

from .helpers import CHANGE, LEFT, Written, changes

KEY = b"user_id:u1|vip"
NAME = "connect-json"


def copies(form: Form = connect_json.FORM, **output: str) -> list[TopicCopy]:
    return copies_of(load(output={"format": NAME, **output}), form)


def copied(copy: TopicCopy, *records: Written) -> tuple[list[tuple[Any, Any]], int]:
    found = convert_all(copy, records)
    assert {output.topic for output in found.outputs} <= {copy.target}
    return [(output.key, output.value) for output in found.outputs], found.skipped


def value_of(change: Any) -> bytes:
    return encode_change(msgspec.structs.replace(change), change.evaluated_at)


def test_rows_and_tombstones_are_copied_under_the_key_of_the_format() -> None:
    state, _ = copies()
    key = connect_json.FORM.membership_key("user_id:u1", "vip")
    rows = [Written(KEY, value_of(CHANGE)), Written(KEY, value_of(LEFT)), Written(KEY, None)]
    write = connect_json.FORM.membership
    assert copied(state, *rows) == ([(key, write(CHANGE)), (key, write(LEFT)), (key, None)], 0)
    (output,) = convert_all(state, rows[:1]).outputs
    assert output.headers == [("content-type", b"application/json"), ("segops_version", b"12")]


def test_exit_becomes_a_tombstone_on_demand_in_rows_only() -> None:
    state, log = copies(exits="tombstones")
    key = connect_json.FORM.membership_key("user_id:u1", "vip")
    assert copied(state, Written(KEY, value_of(LEFT))) == ([(key, None)], 0)
    (found,), skipped = copied(log, Written(b"user_id:u1", value_of(LEFT)))
    assert (found, skipped) == (
        (connect_json.FORM.change_key("user_id:u1"), connect_json.FORM.change(LEFT)),
        0,
    )


@pytest.mark.parametrize("value", [b"{", b"[]", b'{"profile_id": 1}', b"\xff", b'"\xff"'])
def test_record_of_another_program_is_left_out(value: bytes) -> None:
    state, log = copies()
    assert copied(state, Written(KEY, value)) == copied(log, Written(b"user_id:u1", value)) == ([], 1)


def test_key_of_another_program_is_left_out() -> None:
    state, log = copies()
    for key in (None, b"no-bar", b"\xff|vip"):
        assert copied(state, Written(key, value_of(CHANGE))) == ([], 1)
        assert copied(state, Written(key, None)) == ([], 1)
    assert copied(log, Written(b"user_id:u1", None)) == ([], 1)


@given(st.lists(st.tuples(changes(), st.booleans()), max_size=8))
def test_table_of_the_rows_is_the_table_of_the_source(records: list[tuple[Any, bool]]) -> None:
    """Fold source and output: the same keys have rows, also where a profile id has the separator."""
    form = cloudevents.form("shop")
    state, _ = copies(form)
    source: dict[bytes, bytes | None] = {}
    output: dict[bytes, bytes | None] = {}
    for change, deleted in records:
        key = f"{change.profile_id}|{change.segment_key}".encode()
        source[key] = None if deleted else value_of(change)
        ((output_key, value),), _ = copied(state, Written(key, source[key]))
        output[output_key] = value
        assert output_key == key
        assert (value is None) == deleted
    assert output.keys() == source.keys()


async def _records(records: Iterable[Written]) -> AsyncIterator[Written]:
    for record in records:
        yield record


def test_keys_with_a_row_are_those_whose_latest_record_has_a_value() -> None:
    records = [Written(b"a", b"1"), Written(b"b", b"1"), Written(b"a", None), Written(None, b"1")]
    assert asyncio.run(present(_records(records))) == {b"b"}
    assert asyncio.run(present(_records([*records, Written(b"a", b"2")]))) == {b"a", b"b"}


@given(st.sampled_from(["1/rows", "2/tombstones"]), st.integers(0, 10**15))
def test_position_says_in_which_form_the_rows_are_written(form: str, at_ms: int) -> None:
    assert Position.read(str(Position(form, at_ms))) == (form, at_ms)


@pytest.mark.parametrize("metadata", ["", "1/rows", "1/rows x", "x 1 y"])
def test_position_of_another_program_is_as_old_as_can_be(metadata: str) -> None:
    assert Position.read(metadata) == ("", 0)


def test_topics_exist_for_a_format_only() -> None:
    names = {spec.name: spec for spec in topic_specs(load())}
    specs = {spec.name: spec for spec in topic_specs(load(output={"format": NAME}))}
    added = {name: specs[name] for name in specs.keys() - names.keys()}
    assert {name: spec.cleanup_policy for name, spec in added.items()} == {
        "segops.output.connect-json.memberships": "compact",
        "segops.output.connect-json.changes": "delete",
    }
    week = str(7 * 86_400_000)
    assert added["segops.output.connect-json.memberships"].configs["delete.retention.ms"] == week
    assert [(copy.source, copy.target) for copy in copies()] == [
        ("segops.membership.state", "segops.output.connect-json.memberships"),
        ("segops.membership.changes", "segops.output.connect-json.changes"),
    ]
