"""The checker refuses what the sinks refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from .sinks import FieldTypes, connect_data, take_elasticsearch, take_http, take_jdbc, take_s3

NUMBER = {"type": "int64", "optional": False, "field": "a"}
STRUCT = {"type": "struct", "optional": False, "fields": [NUMBER]}


def envelope(payload: Any, schema: Any = STRUCT, **more: Any) -> bytes:
    return json.dumps({"schema": schema, "payload": payload, **more}).encode()


def test_record_that_fits_is_taken() -> None:
    assert connect_data(envelope({"a": 1})) == {"a": 1}
    assert take_jdbc(envelope({"a": 1}), envelope({"a": 1})) == ((1,), {"a": 1})
    assert take_jdbc(envelope({"a": 1}), None) == ((1,), None)
    assert take_elasticsearch(b"u1|vip", None) == ("u1|vip", None)


@pytest.mark.parametrize(
    "data",
    [
        envelope({"a": 1}, more=1),
        envelope({"a": "1"}),
        envelope({"a": True}),
        envelope({"a": 2**63}),
        envelope({"a": None}),
        envelope({"a": 1, "b": 2}),
        envelope({}),
        b'{"payload":{},"schema":{}}',
    ],
)
def test_envelope_that_does_not_fit_is_refused(data: bytes) -> None:
    with pytest.raises(AssertionError):
        connect_data(data)


TEXT = {"type": "struct", "optional": False, "fields": [{"type": "string", "optional": True, "field": "a"}]}
NESTED = {"type": "struct", "optional": False, "fields": [{**STRUCT, "field": "a"}]}


@pytest.mark.parametrize(
    "take",
    [
        lambda: take_jdbc(b'{"schema":{"type":"string","optional":false},"payload":"k"}', None),
        lambda: take_jdbc(envelope({"a": None}, TEXT), None),
        lambda: take_jdbc(envelope({"a": "a\0b"}, TEXT), None),
        lambda: take_jdbc(envelope({"a": {"a": 1}}, NESTED), None),
        lambda: take_jdbc(envelope({"a": 1}), envelope({"a": 2})),
        lambda: take_http(None),
        lambda: take_http(b"[]"),
        lambda: take_http(b'{"a":1,"a":2}'),
        lambda: take_http(b'{"a":NaN}'),
        lambda: take_s3(b'{"at":\n1}', "at"),
        lambda: take_s3(b'{"at":null}', "at"),
        lambda: take_s3(None, "at"),
        lambda: take_elasticsearch(None, b"{}"),
        lambda: take_elasticsearch(b"x" * 513, b"{}"),
        lambda: take_elasticsearch(b"k", b"1"),
    ],
)
def test_record_that_does_not_fit_is_refused(take: Callable[[], object]) -> None:
    with pytest.raises(AssertionError):
        take()


def test_field_that_changes_its_type_is_refused() -> None:
    types = FieldTypes()
    types.add({"a": 1, "b": None, "c": {"d": "x"}})
    types.add({"a": 2, "b": "x", "c": {"d": None}})
    for row in ({"a": "1"}, {"b": 1}, {"c": {"d": 1}}, {"c": 1}):
        with pytest.raises(AssertionError):
            types.add(row)
