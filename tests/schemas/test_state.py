"""The stored form of a profile: nothing is lost, and what cannot be read is refused."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segops.core.activity import DAY_MS, activity_of
from segops.core.engine import Engine
from segops.core.errors import StateError
from segops.core.events import Event
from segops.core.features import states
from segops.core.profile import HeldEvent, Links, Member, MergedSource, Past, Profile
from segops.core.segments import SegmentSet
from segops.schemas.state import FORMAT, body_of, decode_profile, encode_profile, head_of, summary
from segops.schemas.tallies import encode_moves
from segops.testing import definition
from tests.core.strategies import RFM, rules, streams
from tests.core.strategies_areas import PLACES
from tests.core.strategies_lookups import BLOCKS
from tests.core.strategies_scores import score_models


def lived(rule: dict[str, Any], steps: list[tuple[str, Any]]) -> Profile:
    blocks = {"areas": PLACES, "tables": BLOCKS, "rfm": RFM, "models": score_models(rule)}
    engine = Engine(SegmentSet([definition("s", rule, **blocks)]))
    profile = engine.new_profile("user_id:ü|1")
    for kind, step in steps:
        if kind == "event":
            engine.on_event(profile, step, clock_ms=step.time_ms)
    return profile


@settings(max_examples=50)
@given(rules(), streams())
def test_profile_round_trips(rule: dict[str, Any], steps: list[tuple[str, Any]]) -> None:
    profile = lived(rule, steps)
    again = decode_profile(encode_profile(profile))
    assert again == profile
    assert list(again.seen) == list(profile.seen)


def test_the_first_byte_is_the_format() -> None:
    assert encode_profile(Profile("user_id:u1"))[0] == FORMAT == 4


@pytest.mark.parametrize("first", [0, FORMAT + 1, 255])
def test_unknown_format_is_rejected_by_number(first: int) -> None:
    data = bytes([first]) + encode_profile(Profile("user_id:u1"))[1:]
    with pytest.raises(StateError, match=f"has format {first}, this version of segops reads {FORMAT}"):
        decode_profile(data)


def test_empty_bytes_are_rejected() -> None:
    with pytest.raises(StateError, match="format nothing"):
        decode_profile(b"")


def test_missing_fields_get_defaults() -> None:
    # A format byte, a head (never due, nothing else), then an array of one: the id alone.
    head = (-(1 << 63)).to_bytes(8, "big", signed=True) + bytes(12)
    assert decode_profile(bytes([FORMAT]) + head + b"\x91\xa1x") == Profile("x")
    for former in (2, 3):
        assert decode_profile(bytes([former]) + head[:12] + b"\x91\xa1x") == Profile("x")


@pytest.mark.parametrize("form", [2, 3])
def test_the_second_and_third_formats_are_read_as_the_fourth(form: int) -> None:
    profile = Profile("x", due_ms=7, first_ms=DAY_MS, latest_ms=5 * DAY_MS, flips={"a": 7})
    profile.members = {"a": Member(1, 1)}
    stored = encode_profile(profile)
    former = bytes([form]) + stored[1:9] + (1).to_bytes(4, "big") + b"a" + body_of(stored)
    assert decode_profile(former) == decode_profile(stored)
    assert summary(former) == summary(stored) == (7, b"a")
    assert head_of(former) == head_of(stored) == (7, b"a", activity_of(profile), b"")


def test_the_head_has_the_activity_and_the_moves() -> None:
    profile = Profile("x", first_ms=0, latest_ms=40 * DAY_MS, former_day=2, members={"a": Member(1, 1)})
    moves = encode_moves(5, [(60_000, "a", "event", True)])
    stored = encode_profile(profile, moves)
    assert head_of(stored) == (None, b"a", activity_of(profile), moves)
    assert decode_profile(stored) == profile
    assert body_of(stored) == body_of(encode_profile(profile))
    with pytest.raises(StateError, match="ends within its head"):
        head_of(stored[:30])


def test_the_first_format_is_still_read() -> None:
    assert decode_profile(b"\x01\x91\xa1x") == Profile("x")
    assert summary(b"\x01\x91\xa1x") == (None, b"")


@settings(max_examples=50)
@given(rules(), streams())
def test_the_summary_is_that_of_the_profile(rule: dict[str, Any], steps: list[tuple[str, Any]]) -> None:
    profile = lived(rule, steps)
    due_ms, members = summary(encode_profile(profile))
    assert due_ms == profile.due_ms
    assert members.decode().splitlines() == list(profile.members)


def test_damaged_head_is_reported() -> None:
    with pytest.raises(StateError, match="damaged"):
        summary(bytes([FORMAT, 0]))


@settings(max_examples=50)
@given(rules(), streams(), st.data())
def test_damaged_bytes_are_rejected_or_decoded_without_a_crash(
    rule: dict[str, Any], steps: list[tuple[str, Any]], data: st.DataObject
) -> None:
    stored = bytearray(encode_profile(lived(rule, steps)))
    at = data.draw(st.integers(1, len(stored) - 1))
    if data.draw(st.booleans()):
        del stored[at:]
    else:
        stored[at] = data.draw(st.integers(0, 255))
    try:
        assert isinstance(decode_profile(bytes(stored)), Profile)
    except StateError as error:
        assert "damaged" in str(error)


def test_a_truncated_profile_is_damaged() -> None:
    with pytest.raises(StateError, match="damaged"):
        decode_profile(encode_profile(Profile("user_id:u1"))[:-1])


def test_integers_beyond_64_bits_are_stored_as_the_nearest_float() -> None:
    profile = Profile("x", traits={"big": [10**25, {"low": -(10**25)}], "huge": 10**400, "top": 2**64 - 1})
    traits = decode_profile(encode_profile(profile)).traits
    assert traits == {"big": [1e25, {"low": -1e25}], "huge": 1.7e308, "top": 2**64 - 1}


BIG = 10**30


def test_free_values_are_fitted_in_every_part() -> None:
    event = Event("E", 1, "m", {"deep": [{"big": BIG}]}, {"t": BIG}, context={"os": {"big": BIG}})
    features: dict[int, Any] = {
        1: states.RunningValue(0, 1, BIG),
        2: states.Values([1], [BIG]),
        3: states.Entries([states.Entry(1, BIG, (BIG, "x"))]),
        4: states.Chains([states.Link(1, 1, (BIG,))], [(1, 2)]),
        5: states.Sessions([states.Session(1, 1, 1, (1, BIG), (1, -BIG))]),
    }
    held = Links(
        ["x"], held=[HeldEvent(1, event)], sources=[MergedSource(1, Profile("y", traits={"n": -BIG}))]
    )
    again = decode_profile(encode_profile(Profile("x", features=features, links=held)))
    assert again.features == {
        1: states.RunningValue(0, 1, 1e30),
        2: states.Values([1], [1e30]),
        3: states.Entries([states.Entry(1, 1e30, (1e30, "x"))]),
        4: states.Chains([states.Link(1, 1, (1e30,))], [(1, 2)]),
        5: states.Sessions([states.Session(1, 1, 1, (1, 1e30), (1, -1e30))]),
    }
    assert again.links is not None
    assert again.links.held[0].event.properties == {"deep": [{"big": 1e30}]}
    assert again.links.held[0].event.traits == {"t": 1e30}
    assert again.links.held[0].event.context == {"os": {"big": 1e30}}
    assert again.links.sources[0].profile.traits == {"n": -1e30}


@pytest.mark.parametrize(
    "fields",
    [
        {"members": {"s": Member(1, BIG)}},
        {"members": {"s": Member(1, 1e30)}},
        {"members": {"s": Member(1, BIG)}, "traits": {"big": BIG}},
        {"members": {"s": Member(BIG, 1)}},
        {"sequence": BIG},
        {"sequence": 1.0},
        {"due_ms": BIG},
        {"due_ms": 2**63},
        {"due_ms": 1.5},
        {"first_ms": BIG},
        {"latest_ms": 1e15},
        {"seen": {1: BIG}},
        {"seen": {1: 1.5}, "traits": {"big": BIG}},
        {"features": {1: states.Tally(0, BIG)}},
        {"features": {1: states.Tally(0, 1.5)}, "traits": {"big": BIG}},
        {"features": {BIG: states.Tally(0, 1)}},
        {"flips": {"s": 1e15}},
        {"links": Links(["x"], merged={"y": BIG})},
        {"links": Links(["x"], sources=[MergedSource(1, Profile("y", sequence=BIG))])},
        {"past": {"s": Past(BIG)}},
        {"traits": {"half": "\ud800"}},
        {"traits": {"odd": object()}},
        {"user_id": "\udfff"},
    ],
)
def test_undecodable_profile_is_never_encoded(fields: dict[str, Any]) -> None:
    with pytest.raises(StateError, match="a profile cannot be stored"):
        encode_profile(Profile("x", **fields))


def test_distinct_values_are_stored_in_one_order() -> None:
    texts = [f"s{number}" for number in range(20)]
    stored = {
        encode_profile(Profile("user_id:u1", features={7: states.Keys(0, order)}))
        for order in (texts, texts[::-1], [*{*texts}])
    }
    assert len(stored) == 1


def test_a_set_that_an_earlier_version_stored_is_stored_again_in_order() -> None:
    ordered = encode_profile(Profile("user_id:u1", features={7: states.Keys(0, ["sa", "sb"])}))
    earlier = ordered.replace(b"\xa2sa\xa2sb", b"\xa2sb\xa2sa")
    assert earlier != ordered
    assert encode_profile(decode_profile(earlier)) == ordered


def test_stored_bytes_do_not_depend_on_the_hash_seed() -> None:
    """Sets of texts iterate in an order of their process."""
    found = {
        subprocess.check_output([sys.executable, "-c", _LIVED], env={"PYTHONHASHSEED": str(n)})
        for n in (0, 1, 2)
    }
    assert len(found) == 1


_LIVED = """
from segops.core.engine import Engine
from segops.core.events import Event
from segops.core.merge import merge
from segops.core.profile import Past, Profile
from segops.core.segments import SegmentSet
from segops.schemas.state import encode_profile
from segops.testing import definition
rules = {f"t{n}": {"has_been": {"trait": f"t{n}", "is": {"eq": "x"}}, "for": "1d"} for n in range(6)}
rules["d"] = {"distinct": "p", "of": "A", "is": {"gte": 9}}
engine = Engine(SegmentSet([definition(key, rule) for key, rule in rules.items()]))
profile = engine.new_profile("user_id:u1")
for n in range(6):
    traits = {f"t{each}": "x" for each in range(6)}
    engine.on_event(profile, Event("A", n, f"m{n}", {"p": f"v{n}"}, traits), clock_ms=n)
other = Profile("user_id:u2", first_ms=1, past={f"s{n}": Past(1) for n in range(6)})
merge(profile, other, engine.segments.features, 9)
print(encode_profile(profile).hex())
"""
