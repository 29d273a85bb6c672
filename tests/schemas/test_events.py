"""The border: whose event it is, when it happened, what it says, and why some are refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.core.engine import Engine
from segops.core.errors import RejectedEvent
from segops.core.events import Event
from segops.core.identifiers import Rules
from segops.core.values import format_instant
from segops.schemas.events import MAX_DEPTH, REJECT_REASONS, Routed, decode, route
from segops.schemas.identifying import IdentityLimits
from segops.schemas.state import decode_profile, encode_profile
from segops.testing import at, segments
from tests.core.helpers import D

NOW = at("2026-01-01")
BASE: dict[str, Any] = {"type": "track", "event": "A", "userId": "u1", "timestamp": "2025-12-31T00:00:00Z"}

_CARD = {"id": "c1", "type": "card"}
_MAIL = {"id": "Ada@x.y", "type": "email"}


def record(**fields: Any) -> bytes:
    return msgspec.json.encode({k: v for k, v in {**BASE, **fields}.items() if v is not ...})


def routed(**fields: Any) -> Routed:
    return route(record(**fields), now_ms=NOW, default_time_ms=NOW - 7)


def decoded(**fields: Any) -> Event:
    return decode(record(**fields), time_ms=5, default_id="0:7")


def reason(value: bytes | None, **limits: int) -> str:
    with pytest.raises(RejectedEvent) as caught:
        route(value, now_ms=NOW, default_time_ms=None, limits=IdentityLimits(**limits))
    assert caught.value.detail
    return caught.value.reason


# -- whose -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "profile_id"),
    [
        ({"userId": "u1", "anonymousId": "a1"}, "user_id:u1"),
        ({"userId": 42}, "user_id:42"),
        ({"userId": " u1 "}, "user_id:u1"),
        ({"userId": ..., "anonymousId": "a1", "traits": {"email": "x@y.z"}}, "email:x@y.z"),
        ({"userId": ..., "traits": {"email": " X@Y.Z "}}, "email:x@y.z"),
        ({"userId": ..., "context": {"traits": {"email": "c@y.z"}}}, "email:c@y.z"),
        ({"userId": ..., "anonymousId": "a1", "properties": {"email": "p@y.z"}}, "anonymous_id:a1"),
        (
            {"userId": ..., "traits": {"email": "t@y.z"}, "context": {"traits": {"email": "c@y.z"}}},
            "email:t@y.z",
        ),
        ({"userId": ..., "anonymousId": "a1", "traits": {"email": 5}}, "anonymous_id:a1"),
        ({"userId": ..., "anonymousId": "a1"}, "anonymous_id:a1"),
        ({"userId": None, "anonymousId": "a1"}, "anonymous_id:a1"),
        ({"userId": ..., "context": {"device": {"id": "d1"}}}, "device_id:d1"),
        ({"userId": ..., "context": {"externalIds": [{"id": 7, "type": "card"}]}}, "card:7"),
        ({"userId": ..., "context": {"device": {"id": "d1"}, "externalIds": [_CARD]}}, "device_id:d1"),
        (
            {"userId": ..., "anonymousId": "a1", "context": {"externalIds": [_CARD, _MAIL]}},
            "email:ada@x.y",
        ),
        (
            {"userId": ..., "anonymousId": "a1", "context": {"device": "odd", "externalIds": {}}},
            "anonymous_id:a1",
        ),
    ],
)
def test_strongest_identifier_determines_the_profile(fields: dict[str, Any], profile_id: str) -> None:
    assert routed(**fields).profile_id == profile_id


@pytest.mark.parametrize(
    "blocked",
    ["", "  ", "0", "00000000-0000-0000-0000-000000000000", "-1", "null", "NULL", "Anonymous", "nan", 0, -1],
)
def test_blocked_identifier_is_skipped(blocked: Any) -> None:
    assert routed(userId=blocked, anonymousId="a1").profile_id == "anonymous_id:a1"
    assert decoded(userId=blocked, anonymousId="a1").user_id is None


def test_other_identifiers_are_used_if_valid() -> None:
    odd: list[Any] = [
        7,
        {},
        {"id": "x"},
        {"id": "x", "type": "a:b"},
        {"id": "null", "type": "card"},
        {"type": 1},
    ]
    context = {"device": {"id": " d1 "}, "externalIds": [*odd, _CARD, _MAIL], "ip": "::1"}
    assert decoded(context=context).others == ("device_id:d1", "card:c1", "email:ada@x.y")
    assert decoded(context={"device": [], "externalIds": odd}).others == ()


def test_identifier_types_and_priority_are_configurable() -> None:
    rules = Rules(priority=("user_id", "card", "anonymous_id"))
    limits = IdentityLimits(rules=rules, blocked=frozenset({"test"}))
    fields = {"userId": "Test", "anonymousId": "a1", "traits": {"email": "a@x"}}
    card = {"context": {"externalIds": [_CARD]}}
    for more, profile_id in (({}, "anonymous_id:a1"), (card, "card:c1")):
        value = msgspec.json.encode({"type": "page", **fields, **more})
        assert route(value, now_ms=NOW, default_time_ms=NOW, limits=limits).profile_id == profile_id
        event = decode(value, time_ms=NOW, default_id="d", limits=limits)
        assert rules.identifiers_of(event)[0] == profile_id
        assert rules.identifiers_of(event)[-1] == "anonymous_id:a1"


@pytest.mark.parametrize("similar", ["10", "0a", "nullo", "-10", "anonymous1", "1-0"])
def test_value_similar_to_a_blocked_one_is_a_valid_identifier(similar: str) -> None:
    assert routed(userId=similar).profile_id == f"user_id:{similar}"


# -- when: more in test_times ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ahead_ms", "time_ms", "clamped"),
    [(300_000, NOW + 300_000, False), (300_001, NOW, True), (D, NOW, True)],
)
def test_event_over_five_minutes_ahead_is_clamped_to_now(ahead_ms: int, time_ms: int, clamped: bool) -> None:
    found = routed(timestamp=format_instant(NOW + ahead_ms))
    assert (found.time_ms, found.clamped) == (time_ms, clamped)


# -- what ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["identify", "page", "screen", "group", "alias"])
def test_non_track_calls_are_named_by_type(kind: str) -> None:
    assert routed(type=kind, event=...).profile_id == "user_id:u1"
    assert decoded(type=kind, event=...).name == kind


def test_track_call_is_named_by_its_event() -> None:
    assert decoded(event="Order Completed").name == "Order Completed"


def test_call_and_context_traits_are_merged() -> None:
    both = {"traits": {"a": 1, "b": 1}, "context": {"traits": {"b": 2, "c": 2}}}
    assert decoded(type="identify", **both).traits == {"a": 1, "b": 1, "c": 2}
    assert decoded(**both).traits == {"a": 1, "b": 1, "c": 2}
    assert decoded().traits is None


def test_group_traits_are_event_properties_only() -> None:
    event = decoded(type="group", groupId="g1", traits={"plan": "gold"})
    assert event.properties == {"plan": "gold", "groupId": "g1"}
    assert event.traits is None


def test_page_name_is_a_property_unless_overridden() -> None:
    assert decoded(type="page", name="Home", category="Docs").properties == {
        "name": "Home",
        "category": "Docs",
    }
    assert decoded(type="page", name="Home", properties={"name": "Start"}).properties == {"name": "Start"}
    assert decoded(name="Home").properties == {}


def test_event_carries_identifiers_and_corrected_time() -> None:
    event = decoded(anonymousId="a1", messageId="m1", traits={"email": "X@y.z"})
    assert (event.user_id, event.anonymous_id, event.email) == ("u1", "a1", "x@y.z")
    assert (event.time_ms, event.message_id, event.named) == (5, "m1", True)


@pytest.mark.parametrize("message_id", [..., None, "", 0, True, 1.5, {}])
def test_event_without_message_id_gets_the_default_id(message_id: Any) -> None:
    event = decoded(messageId=message_id)
    assert (event.message_id, event.named) == ("0:7", False)


def test_a_message_id_may_be_a_number() -> None:
    assert (decoded(messageId=12).message_id, decoded(messageId=12).named) == ("12", True)


def test_rudderstack_events_are_accepted_unchanged() -> None:
    value = {
        "type": "track",
        "channel": "web",
        "event": "Product Viewed",
        "userId": "",
        "anonymousId": "a-1",
        "rudderId": "r-1",
        "messageId": "m-1",
        "originalTimestamp": "2025-12-31T10:00:00.100Z",
        "sentAt": "2025-12-31T10:00:00.200Z",
        "receivedAt": "2025-12-31T10:00:00.700Z",
        "timestamp": "2025-12-31T10:00:00.600Z",
        "request_ip": "10.0.0.1",
        "integrations": {"All": True},
        "context": {"traits": {"plan": "free"}, "library": {"name": "RudderLabs JavaScript SDK"}},
        "properties": {"sku": "s-1"},
    }
    data = msgspec.json.encode(value)
    found = route(data, now_ms=NOW, default_time_ms=None)
    assert (found.profile_id, found.time_ms) == ("anonymous_id:a-1", at("2025-12-31T10:00:00.600Z"))
    event = decode(data, time_ms=found.time_ms, default_id="x")
    assert (event.name, event.message_id, event.properties) == ("Product Viewed", "m-1", {"sku": "s-1"})
    assert (event.user_id, event.traits) == (None, {"plan": "free"})


# -- what is refused ---------------------------------------------------------------------------------

REFUSED: list[tuple[str, bytes | None]] = [
    ("empty", None),
    ("empty", b""),
    ("too_large", record(properties={"p": "x" * 40_000})),
    ("bad_utf8", record().replace(b'"A"', b'"A\xff"')),
    ("bad_utf8", b"\xff\xfe"),
    ("too_deep", record(properties={"p": 0}).replace(b":0}", b":" + b"[" * 9_000 + b"]" * 9_000 + b"}")),
    ("invalid_json", b"{"),
    ("invalid_json", b"not json"),
    ("invalid_json", record() + b"}"),
    ("invalid_json", record(userId="X").replace(b'"X"', b'"\\ud8"')),
    ("invalid_json", record(properties={"p": 0}).replace(b":0", b":NaN")),
    ("wrong_type", b"[]"),
    ("wrong_type", b"5"),
    ("wrong_type", b"{}"),
    ("wrong_type", record(event=5)),
    ("wrong_type", record(userId={"id": 1})),
    ("wrong_type", record(userId=True)),
    ("wrong_type", record(userId=0.5)),
    ("wrong_type", record(type=5, properties=[])),
    ("unknown_type", record(type="purchase")),
    ("unknown_type", record(type="")),
    ("no_name", record(event=...)),
    ("no_name", record(event="")),
    ("bad_time", record(timestamp="yesterday")),
    ("bad_time", record(timestamp=1_700_000_000)),
    ("no_time", record(timestamp=...)),
    ("no_time", record(timestamp="")),
    ("no_identifier", record(userId=...)),
    ("no_identifier", record(userId=None, anonymousId="")),
    ("blocked_identifier", record(userId="null", anonymousId="undefined")),
]


@pytest.mark.parametrize(("expected", "value"), REFUSED)
def test_invalid_event_is_rejected_with_a_reason(expected: str, value: bytes | None) -> None:
    assert reason(value) == expected


def test_every_reject_reason_is_covered() -> None:
    assert {expected for expected, _ in REFUSED} == set(REJECT_REASONS) - {"internal"}


def test_maximum_event_size_is_configurable() -> None:
    value = record()
    assert route(value, now_ms=NOW, default_time_ms=None, limits=IdentityLimits(max_bytes=len(value)))
    assert reason(value, max_bytes=len(value) - 1) == "too_large"


def nested(depth: int) -> bytes:
    return record(properties={"p": 0}).replace(b":0}", b":" + b"[" * depth + b"]" * depth + b"}")


def test_nesting_too_deep_to_store_is_rejected_by_routing() -> None:
    # The object of the event and its properties are two levels themselves.
    assert route(nested(MAX_DEPTH - 2), now_ms=NOW, default_time_ms=None)
    assert reason(nested(MAX_DEPTH - 1)) == "too_deep"


def test_adjacent_or_quoted_brackets_do_not_count_as_nesting() -> None:
    value = record(properties={"list": [[]] * 400, "text": '[{"\\' * 400})
    assert route(value, now_ms=NOW, default_time_ms=None).profile_id == "user_id:u1"


def test_any_accepted_event_can_be_applied_and_stored() -> None:
    engine = Engine(
        segments(
            latest={"latest": "p", "of": "A", "is": {"exists": True}, "within": "1d"},
            earliest={"earliest": "p", "of": "A", "is": {"exists": True}},
            most={"max": "p", "of": "A", "is": {"gt": 5}},
            sum={"sum": "p", "of": "A", "is": {"gt": 5}, "within": "1d"},
            distinct={"distinct": "p", "of": "A", "is": {"gt": 1}},
        )
    )
    profile = engine.new_profile("user_id:u1")
    odd = [
        10**25,
        -(10**30),
        10**4_000,
        2**64,
        1e308,
        5e-324,
        "\u0000",
        "\U0001f600",
        [],
        {},
        [[10**25]],
        True,
    ]
    for number, value in enumerate(odd):
        data = record(properties={"p": value}, context={"traits": {f"t{number}": value}})
        found = route(data, now_ms=NOW, default_time_ms=None)
        event = decode(data, time_ms=found.time_ms + number, default_id=str(number))
        assert not engine.on_event(profile, event, clock_ms=NOW).failures
        profile = decode_profile(encode_profile(profile))
    assert {"latest", "earliest", "most", "distinct"} <= set(profile.members)
    assert profile.traits["t0"] == 1e25


json_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=6,
)
fields = st.sampled_from(
    "messageId name category groupId previousId properties traits context userId anonymousId event type "  # noqa: SIM905
    "timestamp originalTimestamp sentAt receivedAt extra".split()
)


@given(st.dictionaries(fields, json_values, max_size=6))
def test_routed_event_can_be_decoded(changes: dict[str, Any]) -> None:
    try:
        data = record(**changes)
    except (UnicodeEncodeError, msgspec.MsgspecError):
        return
    try:
        found = route(data, now_ms=NOW, default_time_ms=NOW)
    except RejectedEvent as refused:
        assert refused.reason in REJECT_REASONS
        return
    event = decode(data, time_ms=found.time_ms, default_id="x")
    assert event.name


@given(st.binary(max_size=200))
def test_routing_of_arbitrary_bytes_only_raises_rejections(data: bytes) -> None:
    with pytest.raises(RejectedEvent):
        route(data, now_ms=NOW, default_time_ms=NOW)
