"""The published form of a change: flat, in the order of the contract, primitives or null only."""

from __future__ import annotations

import hashlib
import json

import msgspec
import pytest

from segops.core.events import Change, change_id
from segops.schemas.changes import decode_change, encode_change

CHANGE = Change(
    "user_id:u1", "vip", 2, "entered", True, "event", 1_000, 0, 7, change_id("user_id:u1", "vip", 7), "m1",
    2_000, "u1", None, "u1@example.com", '{"a":{"b":1}}',
)  # fmt: skip
FIELDS = tuple(
    "profile_id segment_key segment_version action member reason occurred_at evaluated_at sequence change_id "  # noqa: SIM905
    "event_id flips_at user_id anonymous_id email traits_json merged_into".split()
)


def test_change_is_flat_json_in_contract_order() -> None:
    fields = json.loads(encode_change(CHANGE, 1_012))
    assert tuple(fields) == FIELDS
    assert all(value is None or isinstance(value, (str, int, bool)) for value in fields.values())
    assert (fields["evaluated_at"], fields["anonymous_id"]) == (1_012, None)
    assert fields["change_id"] == hashlib.sha256(b"user_id:u1|vip|7").hexdigest()


def test_change_round_trips() -> None:
    assert decode_change(encode_change(CHANGE, 1_012)) == CHANGE


def test_invalid_change_is_rejected() -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_change(b'{"profile_id":"user_id:u1"}')
