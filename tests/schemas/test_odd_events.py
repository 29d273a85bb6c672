"""Events of odd shapes: what is read of them, what is left out and counted, and what is still refused."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.core.errors import RejectedEvent
from segops.core.events import Event
from segops.schemas import events
from segops.schemas.events import MAX_DEPTH, Routed, decode, route
from segops.schemas.repairs import REPAIRS, reread
from segops.testing import at

STAMP = "2026-03-01T09:00:00Z"
BASE: dict[str, Any] = {"type": "track", "event": "A", "userId": "u1", "timestamp": STAMP}
LARGEST = 1.7976931348623157e308


def record(**fields: Any) -> bytes:
    """Encode an event with every non-ASCII character escaped, lone surrogates included."""
    return json.dumps({k: v for k, v in {**BASE, **fields}.items() if v is not ...}).encode()


def raw(field: str, written: str) -> bytes:
    """Encode an event with a raw value for one field."""
    return record(**{field: "@"}).replace(b'"@"', written.encode())


def read(value: bytes) -> tuple[Routed, Event, Counter[str]]:
    repairs: Counter[str] = Counter()
    routed = route(value, now_ms=at("2026-06-01"), default_time_ms=None, repairs=repairs)
    event = decode(value, time_ms=routed.time_ms, default_id="0:7", repairs=repairs)
    return routed, event, repairs


def reason(value: bytes) -> str:
    with pytest.raises(RejectedEvent) as caught:
        read(value)
    return caught.value.reason


# -- types of calls ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Track", "TRACK", "track", " track", "tRaCk"])
def test_the_type_of_a_call_is_read_in_any_case(kind: str) -> None:
    _, event, repairs = read(record(type=kind, properties={"p": 1}, name="N"))
    assert (event.name, event.properties, repairs) == ("A", {"p": 1}, {})


@pytest.mark.parametrize("kind", ["identify", "page", "screen", "group", "alias"])
def test_call_type_in_capitals_gives_the_same_name(kind: str) -> None:
    fields = {"event": ..., "traits": {"plan": "pro"}, "name": "Home", "previousId": "u0"}
    small = read(record(type=kind, **fields))
    assert read(record(type=kind.upper(), **fields)) == read(record(type=kind.title(), **fields)) == small
    assert small[1].name == kind


def test_unknown_call_type_is_rejected_in_any_case() -> None:
    assert reason(record(type="PURCHASE")) == "unknown_type"


@pytest.mark.parametrize("odd", [5, {}, ["x"], True])
def test_non_track_call_needs_no_event_name(odd: Any) -> None:
    assert read(record(type="page", event=odd))[1].name == "page"
    assert reason(record(event=odd)) == "wrong_type"


# -- parts that are not objects -------------------------------------------------------------------------


@pytest.mark.parametrize("odd", [[], [1, {"p": 1}], "", "p=1", 0, 1.5, True, None])
@pytest.mark.parametrize("part", ["properties", "traits", "context", "context_traits"])
@pytest.mark.parametrize("kind", ["track", "identify", "page", "group"])
def test_non_object_part_is_read_as_empty(odd: Any, part: str, kind: str) -> None:
    good: dict[str, Any] = {"properties": {"p": 1}, "traits": {"t": 2}, "context": {"traits": {"c": 3}}}
    if part == "context_traits":
        fields, empty = {**good, "context": {"traits": odd}}, {**good, "context": {}}
    else:
        fields, empty = {**good, part: odd}, {**good, part: {}}
    routed, event, repairs = read(record(type=kind, **fields))
    assert (routed, event) == read(record(type=kind, **empty))[:2]
    assert repairs == {part: 1}


def test_all_parts_may_be_invalid_at_once() -> None:
    routed, event, repairs = read(record(properties=[], traits="", context=[], messageId="m1"))
    assert (routed.profile_id, event.message_id) == ("user_id:u1", "m1")
    assert (event.properties, event.traits) == ({}, None)
    assert repairs == {"properties": 1, "traits": 1, "context": 1}


def test_invalid_part_does_not_hide_identifiers_of_others() -> None:
    fields = {"userId": ..., "properties": [], "context": {"traits": {"email": "Ada@x.y"}}}
    routed, event, _ = read(record(**fields))
    assert (routed.profile_id, event.email) == ("email:ada@x.y", "ada@x.y")
    fields = {"userId": ..., "traits": [], "context": {"device": {"id": "d1"}}}
    assert read(record(**fields))[0].profile_id == "device_id:d1"


def test_parts_that_are_objects_or_missing_are_not_counted() -> None:
    nulls = {"traits": {"a": None}, "context": {"traits": {}}}
    for fields in ({}, {"properties": {}}, {"context": {}}, nulls):
        assert read(record(**fields))[2] == {}


# -- halves of surrogate pairs -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cut", "whole"),
    [
        (r"shoes \ud83d", "shoes \ufffd"),
        (r"\udc5f shoes", "\ufffd shoes"),
        (r"\ud83d\ud83d\udc5f", "\ufffd\U0001f45f"),
        (r"\uD83D\uDC5F\uDC5F", "\U0001f45f\ufffd"),
        (r"\udc5f\ud83d", "\ufffd\ufffd"),
        (r"\ud83d\n", "\ufffd\n"),
        (r"\ud83d\\ud83d", "\ufffd\\ud83d"),
        (r"\\\ud83d", "\\\ufffd"),
        (r"\"\ud83d\"", '"\ufffd"'),
        ("gr\\ud83d\u00f6\u00dfer \U0001f45f", "gr\ufffd\u00f6\u00dfer \U0001f45f"),
    ],
)
def test_lone_surrogate_becomes_a_replacement_character(cut: str, whole: str) -> None:
    _, event, repairs = read(raw("messageId", f'"{cut}"'))
    assert (event.message_id, repairs) == (whole, {"surrogate": 1})
    _, event, repairs = read(raw("properties", f'{{"{cut}": {{"{cut}": ["{cut}"]}}}}'))
    assert (event.properties, repairs) == ({whole: {whole: [whole]}}, {"surrogate": 1})


def test_lone_surrogate_is_accepted_in_any_field() -> None:
    half = r'"x\ud83d"'
    assert read(raw("event", half))[1].name == "x\ufffd"
    routed, event, _ = read(raw("userId", half))
    assert (routed.profile_id, event.user_id) == ("user_id:x\ufffd", "x\ufffd")
    identify = raw("traits", f'{{"a": {half}}}').replace(b"track", b"identify")
    assert read(identify)[1].traits == {"a": "x\ufffd"}
    assert read(raw("integrations", f"{{{half}: {half}}}"))[1].name == "A"
    context = f'{{"externalIds": [{{"id": {half}, "type": "card"}}]}}'
    assert read(raw("context", context))[1].others == ("card:x\ufffd",)


@pytest.mark.parametrize("good", [r"\ud83d\udc5f", r"\\ud83d", r"\\\\udc5f", r"\u00e9", r"\ufffd"])
def test_surrogate_pairs_and_escaped_backslashes_are_unchanged(good: str) -> None:
    _, event, repairs = read(raw("properties", f'{{"p": "{good}", "q": []}}'))
    assert (event.properties["p"], repairs) == (json.loads(f'"{good}"'), {})
    # Also where another part of the event is repaired.
    _, event, repairs = read(raw("messageId", f'"{good}"').replace(b"}", b', "properties": []}'))
    assert (event.message_id, repairs) == (json.loads(f'"{good}"'), {"properties": 1})


# -- numbers out of range ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "near"),
    [
        ("1e400", LARGEST),
        ("-1e400", -LARGEST),
        ("1.5E+9999999", LARGEST),
        ("9" * 20_000, LARGEST),
        ("-" + "9" * 20_000, -LARGEST),
        ("9" * 400 + ".5", LARGEST),
    ],
)
@pytest.mark.parametrize("template", ['{"p": %s}', '{"p": [1, {"q": %s}]}'])
def test_number_beyond_float_range_becomes_the_nearest_float(
    written: str, near: float, template: str
) -> None:
    _, event, repairs = read(raw("properties", template % written))
    assert event.properties == json.loads(template % repr(near))
    assert repairs == {"number": 1}


@pytest.mark.parametrize("written", ["1e-400", "9" * 30, "9" * 400, "1e308", "-0.0", "0." + "1" * 5_000])
def test_number_within_float_range_is_unchanged(written: str) -> None:
    value = raw("properties", f'{{"p": {written}}}')
    _, event, repairs = read(value)
    assert (event.properties["p"], repairs) == (json.loads(written), {})
    assert read(value.replace(b"}}", b'}, "traits": []}'))[1].properties == event.properties


@pytest.mark.parametrize("written", ["1e999", "-1e999", "9" * 400, "9" * 20_000, "true", '"48"', "[]"])
def test_invalid_latitude_gives_no_location(written: str) -> None:
    location = f'{{"location": {{"latitude": {written}, "longitude": 2.5}}}}'
    assert read(raw("context", location))[1].location is None


@pytest.mark.parametrize(
    "field", ["messageId", "groupId", "name", "category", "previousId", "unknown", "sentAt"]
)
@pytest.mark.parametrize("written", ["1e999", "9" * 20_000])
def test_out_of_range_number_does_not_reject_the_event(field: str, written: str) -> None:
    _, event, _ = read(raw(field, written))
    assert (event.name, event.message_id) == ("A", "0:7")


@pytest.mark.parametrize("written", ["1e999", "9" * 10_000])
def test_out_of_range_identifiers_are_invalid(written: str) -> None:
    assert reason(raw("userId", written)) == "wrong_type"
    entries = f'[{{"type": "card", "id": {written}}}]'
    value = raw("context", f'{{"device": {{"id": {written}}}, "externalIds": {entries}}}')
    assert read(value)[1].others == ()
    assert reason(value.replace(b'"u1"', b'""')) == "no_identifier"


# -- identifiers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", ["12345", "12345.0", "1.2345e4", '"12345"', '" 12345 "', "123450E-1"])
def test_integer_identifier_is_equal_in_any_notation(written: str) -> None:
    for field, kind in (("userId", "user_id"), ("anonymousId", "anonymous_id")):
        value = raw(field, written) if field == "userId" else raw(field, written).replace(b'"u1"', b"null")
        routed, event, repairs = read(value)
        assert routed.profile_id == f"{kind}:12345"
        assert (event.user_id or event.anonymous_id, repairs) == ("12345", {})
    assert read(raw("messageId", written))[1].message_id.strip() == "12345"
    assert read(raw("previousId", written).replace(b"track", b"alias"))[1].previous_id == "12345"
    context = f'{{"device": {{"id": {written}}}, "externalIds": [{{"type": "card", "id": {written}}}]}}'
    assert read(raw("context", context))[1].others == ("device_id:12345", "card:12345")


def test_long_float_identifier_is_not_rounded() -> None:
    """9007199254740993.0 is read as ...992.0: two people must not become one."""
    assert reason(raw("userId", "9007199254740993.0")) == "wrong_type"
    assert read(raw("userId", "9007199254740993"))[0].profile_id == "user_id:9007199254740993"


@pytest.mark.parametrize("odd", [{"id": "u1"}, {}, ["u1"], [], True, False, 0.5, 1e20])
def test_invalid_identifier_beside_a_valid_one_is_skipped_and_counted(odd: Any) -> None:
    routed, event, repairs = read(record(anonymousId=odd))
    assert (routed.profile_id, event.anonymous_id, repairs) == ("user_id:u1", None, {"identifier": 1})
    for good, profile_id in (
        ({"anonymousId": "a1"}, "anonymous_id:a1"),
        ({"traits": {"email": "a@x.y"}}, "email:a@x.y"),
        ({"context": {"device": {"id": "d1"}}}, "device_id:d1"),
    ):
        routed, event, repairs = read(record(userId=odd, **good))
        assert (routed.profile_id, event.user_id, repairs) == (profile_id, None, {"identifier": 1})
    assert reason(record(userId=odd)) == reason(record(userId=odd, anonymousId="null")) == "wrong_type"


@pytest.mark.parametrize(
    "context",
    [
        {"device": {"id": ["d1"]}},
        {"device": {"id": 0.5}},
        {"externalIds": [{"id": {"v": 1}, "type": "card"}, {"id": "c1", "type": "card"}]},
        {"device": {"id": "d1"}, "externalIds": {"id": True, "type": "card"}},
    ],
)
def test_invalid_context_identifier_is_skipped_and_counted(context: dict[str, Any]) -> None:
    routed, event, repairs = read(record(context=context))
    assert (routed.profile_id, repairs) == ("user_id:u1", {"identifier": 1})
    assert len(event.others) <= 1


@pytest.mark.parametrize("blocked", [None, "", "null", 0, 0.0, -0.0, -1.0])
def test_blocked_identifier_is_not_counted_as_invalid(blocked: Any) -> None:
    assert read(record(anonymousId=blocked, context={"device": {"id": blocked}}))[2] == {}


# -- both readings -------------------------------------------------------------------------------------


def test_byte_order_mark_is_ignored() -> None:
    assert read(b"\xef\xbb\xbf" + record()) == read(record())


def test_lenient_decoder_rejects_deep_nesting() -> None:
    def deep(depth: int) -> bytes:
        return raw("properties", '{"p": ' + "[" * depth + "1e400" + "]" * depth + "}")

    assert read(deep(MAX_DEPTH - 2))[2] == {"number": 1}
    assert reason(deep(MAX_DEPTH - 1)) == "too_deep"
    assert reason(deep(9_000)) == "too_deep"


def test_every_kind_of_repair_is_covered() -> None:
    found: Counter[str] = Counter()
    for field in ("properties", "traits", "context", "userId", "timestamp", "originalTimestamp", "sentAt"):
        found += (
            read(record(anonymousId="a1", **{"originalTimestamp": STAMP, field: [1]}))[2]
            if field != ("originalTimestamp")
            else read(record(originalTimestamp=[1]))[2]
        )
    found += read(record(receivedAt=[1]))[2] + read(record(context={"traits": [1]}))[2]
    found += read(raw("name", r'"\ud83d"'))[2] + read(raw("properties", '{"a": 1e999}'))[2]
    assert set(found) == set(REPAIRS)


numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
objects = st.dictionaries(st.text(max_size=3), values, max_size=3)
written_parts = st.fixed_dictionaries(
    {"type": st.sampled_from(["track", "Identify", "page"]), "messageId": values, "properties": objects},
    optional={"traits": objects, "context": st.fixed_dictionaries({"traits": objects, "device": values})},
)


@given(written_parts)
def test_both_decoders_agree_on_valid_events(fields: dict[str, Any]) -> None:
    try:
        value = msgspec.json.encode({**BASE, **fields})
    except UnicodeEncodeError:
        return
    repairs: Counter[str] = Counter()
    second = msgspec.convert(reread(value, repairs), events._full.type)
    assert (second, repairs) == (events._full.decode(value), {})
