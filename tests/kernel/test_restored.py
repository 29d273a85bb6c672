"""A store restored by the kernel equals one restored by Python, with the sums of its partition."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from segops.core.profile import Member, Profile
from segops.kernel import found
from segops.schemas.state import encode_profile, encode_quarantined_head
from segops.schemas.tallies import cut_of, decode_moves, encode_moves
from segops.stores.base import ProfileStore
from segops.stores.memory import MemoryStores
from segops.streaming.durability.restorer import StoreRestorer
from segops.streaming.partition.snapshot import CHANGELOG_META, MOVES_META, POPULATION_META, SIZES_META

pytestmark = pytest.mark.skipif(found()[0] is None, reason="the kernel is not built")

_KEYS = ("buyers", "high-intent", "vip")
_DUES = st.none() | st.integers(-(10**12), 10**15)
_MEMBERS = st.lists(st.sampled_from(_KEYS), unique=True)
_MOVES = st.just(b"") | st.builds(
    lambda cut, key: encode_moves(cut, [(60_000, key, "event", True)]),
    st.integers(1, 3),
    st.sampled_from(_KEYS),
)


def _profile(due_ms: int | None, keys: list[str], first_ms: int | None, moves: bytes) -> bytes:
    profile = Profile("u", due_ms=due_ms, members={key: Member(0, 1) for key in keys})
    if first_ms is not None:
        profile.first_ms = profile.latest_ms = first_ms
    return encode_profile(profile, moves)


_STATES = st.builds(_profile, _DUES, _MEMBERS, st.none() | st.integers(0, 10**13), _MOVES)
_OTHERS = (
    st.builds(encode_quarantined_head, _DUES, _MEMBERS)
    | st.binary(max_size=40)
    | st.builds(lambda state, end: state[:end], _STATES, st.integers(0, 40))
    | st.builds(lambda state, format_: bytes([format_]) + state[1:], _STATES, st.integers(0, 9))
    | st.builds(lambda state: state.replace(b"vip", b"v\xc3\xbc"), _STATES)
)


def _contents(store: ProfileStore) -> Any:
    ids = store.profile_ids(None, 100)
    names = (CHANGELOG_META, SIZES_META, POPULATION_META, MOVES_META)
    meta: dict[str, Any] = {name: store.meta(name) for name in names}
    meta[SIZES_META] = msgspec.json.decode(meta[SIZES_META] or b"{}")
    moves = meta[MOVES_META] or b""  # they are counted: their order says nothing
    meta[MOVES_META] = cut_of(moves), sorted(decode_moves(moves))
    return ids, store.get_many(ids), store.due(10**16, 100), meta


_IDS = st.sampled_from([b"a", b"b", b"user_id:u1", "ü".encode(), b"\xff"])
_LOGS = st.lists(st.dictionaries(_IDS, st.none() | _STATES | _OTHERS), max_size=6)

#: The former state of the first profile is left to Python, which makes its move the last one.
_LEFT_FIRST: list[dict[bytes, bytes | None]] = [
    {b"a": b""},
    {
        key: _profile(None, [], None, encode_moves(1, [(60_000, segment, "event", True)]))
        for key, segment in ((b"a", "buyers"), (b"b", "high-intent"))
    },
]


@example(_LEFT_FIRST, False, 0)
@given(_LOGS, st.booleans(), st.sampled_from([0, 128, 1 << 20]))
def test_stores_and_sums_are_those_of_python(
    log: list[dict[bytes, bytes | None]], bulk: bool, buffer_bytes: int
) -> None:
    restored = []
    for native in (None, found()[0]):
        stores = MemoryStores()
        store = stores.open(0)
        restorer = StoreRestorer(store, expected=10, bulk=bulk, buffer_bytes=buffer_bytes, native=native)
        for number, values in enumerate(log):
            restorer.apply(values, number + 1)
        restored.append(_contents(store))
    python, kernel = restored
    assert kernel == python
