"""Bodies that carry many events, and byte-order marks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.schemas.batches import events_of
from segops.schemas.events import decode, route

PAGE = '{"type": "page", "userId": "u1", "timestamp": "2026-03-01T10:00:00Z"%s}'
BOM = b"\xef\xbb\xbf"


def of(**body: Any) -> list[Any]:
    return [json.loads(event) for event in events_of(json.dumps(body).encode())]


def test_batch_fields_apply_to_events_without_them() -> None:
    found = of(
        batch=[
            {"type": "page"},
            {"type": "page", "sentAt": "own"},
            {"type": "page", "context": {"ip": "own", "os": {"name": "own"}}},
            {"type": "page", "context": {}},
        ],
        context={"ip": "all", "os": {"version": "1"}, "locale": "de"},
        sentAt="all",
        receivedAt="then",
        writeKey="secret",
        integrations={"All": True},
    )
    context = {"ip": "all", "os": {"version": "1"}, "locale": "de"}
    base = {"type": "page", "sentAt": "all", "receivedAt": "then", "context": context}
    assert found == [
        base,
        {**base, "sentAt": "own"},
        {**base, "context": {"ip": "own", "os": {"name": "own"}, "locale": "de"}},
        base,
    ]


def test_events_are_unchanged_if_the_batch_adds_nothing() -> None:
    events = [PAGE % ', "n": 1.50', PAGE % ', "n": 1e400', PAGE % ', "e": "\\u00e9"', "[1]", "5", "null"]
    body = f'{{"writeKey": "w", "batch": [{", ".join(events)}]}}'
    assert list(events_of(body.encode())) == [event.encode() for event in events]


def test_added_fields_leave_other_values_byte_identical() -> None:
    event = f'{{"n": 1.50, "m": 1e400, "e": "\\u00e9", "big": {"9" * 5_000}}}'
    body = f'{{"sentAt": "s", "batch": [{event}, 5]}}'
    first, second = events_of(body.encode())
    assert first == b'{"sentAt":"s","n":1.50,"m":1e400,"e":"\\u00e9","big":%s}' % (b"9" * 5_000)
    assert second == b"5"


@pytest.mark.parametrize("context", [[], "x", 5, None])
def test_invalid_batch_context_does_not_affect_events(context: Any) -> None:
    own = {"type": "page", "context": {"ip": "own"}}
    assert of(batch=[own], context=context) == [own]


@pytest.mark.parametrize("context", [[], "x", 5])
def test_invalid_event_context_is_kept(context: Any) -> None:
    assert of(batch=[{"context": context}], context={"ip": "all"}) == [{"context": context}]


@pytest.mark.parametrize(
    "body",
    [
        PAGE % "",
        PAGE % ', "properties": {"batch": [1]}',
        PAGE % ', "batch": [1]',  # an event that has such a field
        '{"batch": {"type": "page"}}',
        '{"batch": 5}',
        '["batch"]',
        '{"batch": [',
        "no json",
        "",
    ],
)
def test_body_without_batch_is_one_unchanged_event(body: str) -> None:
    assert list(events_of(body.encode())) == [body.encode()]
    assert list(events_of(BOM + body.encode())) == [body.encode()]


def test_an_empty_batch_has_no_events() -> None:
    assert list(events_of(b'{"batch": []}')) == []


def test_lone_surrogate_in_one_event_does_not_invalidate_the_batch() -> None:
    half = PAGE % ', "properties": {"q": "\\ud83d"}'
    found = events_of(BOM + f'{{"batch": [{half}, {PAGE % ""}]}}'.encode())
    assert len(found) == 2
    assert decode(found[0], time_ms=0, default_id="d").properties == {"q": "\ufffd"}


def test_the_events_of_a_batch_of_an_sdk_can_be_routed() -> None:
    body = {
        "batch": [
            {"type": "track", "event": "A", "userId": "u1", "originalTimestamp": "2026-03-01T10:59:58Z"},
            {"type": "identify", "anonymousId": "a1", "traits": {}, "timestamp": "2026-03-01T09:00:00Z"},
        ],
        "context": {"device": {"id": "d1"}},
        "sentAt": "2026-03-01T11:00:00Z",
        "receivedAt": "2026-03-01T10:00:00Z",
    }
    found = events_of(json.dumps(body).encode())
    routed = [route(event, now_ms=10**13, default_time_ms=None) for event in found]
    assert [each.profile_id for each in routed] == ["user_id:u1", "anonymous_id:a1"]
    assert [each.time_ms for each in routed] == [1_772_359_198_000, 1_772_355_600_000]
    assert [decode(event, time_ms=0, default_id="d").others for event in found] == [("device_id:d1",)] * 2


@given(st.binary(max_size=60) | st.text(max_size=40).map(lambda text: f'{{"batch":{text}}}'.encode()))
def test_arbitrary_bytes_never_raise(body: bytes) -> None:
    assert isinstance(list(events_of(body)), list)
