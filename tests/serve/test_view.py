"""The view against an independent fold of drawn changelogs, and what it does with unreadable records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.core.rules.model import KnownFor
from segops.core.segments import Definition
from segops.schemas.indicators import value_key
from segops.schemas.state import encode_quarantined_head
from segops.serve.view import Shown, View
from segops.stores.memory import MemoryStores
from tests.rest import examples

from .helpers import ids, plain, row, row_key, stored, value

IDS = ["user_id:a", "user_id:b", "anonymous_id:a|b", "email:a", "user_id:a|vip"]
SEGMENTS = ["vip", "vip-2", "audience.vip"]
INDICATORS = ["aov", "last"]
SHOWN = Shown(frozenset(SEGMENTS), frozenset({"vip", "audience.vip"}), frozenset({"aov"}))

memberships = st.tuples(
    st.just("memberships"),
    st.sampled_from(IDS),
    st.sampled_from(SEGMENTS),
    st.none() | st.tuples(st.booleans(), st.integers(1, 9), st.none() | st.integers(10, 20)),
)
indicators = st.tuples(
    st.just("indicators"),
    st.sampled_from(IDS),
    st.sampled_from(INDICATORS),
    st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
)
#: None: erased; the own id: a profile; another one: merged into that.
profiles = st.tuples(st.just("profiles"), st.sampled_from(IDS), st.none(), st.none() | st.sampled_from(IDS))
Step = tuple[str, str, Any, Any]


def record_of(step: Step) -> tuple[str, bytes, bytes | None]:
    """Return the topic, the key and the value of the record that a step stands for."""
    topic, profile_id, name, of = step
    if topic == "memberships":
        found = None
        if of is not None:
            member, at_ms, until_ms = of
            found = row(profile_id, name, member=member, at_ms=at_ms, until_ms=until_ms)
        return topic, row_key(profile_id, name), found
    if topic == "indicators":
        return topic, value_key(profile_id, name), value(profile_id, name, of)
    return topic, profile_id.encode(), None if of is None else stored(of, None if of == profile_id else of)


def take(view: View, batch: list[Step]) -> None:
    """Take over a batch, as a follower does: topic after topic, the latest record of each key."""
    by_topic: dict[str, dict[bytes, bytes | None]] = {}
    for topic, key, found in map(record_of, batch):
        by_topic.setdefault(topic, {})[key] = found
    for topic, records in by_topic.items():
        {"memberships": view.take_memberships, "indicators": view.take_indicators}.get(
            topic, view.take_profiles
        )(records)


class Reference:
    """The answers, from the latest step of each key alone."""

    def __init__(self, steps: list[Step]) -> None:
        self.latest = {(topic, profile_id, name): of for topic, profile_id, name, of in steps}

    def rows(self, topic: str) -> Iterator[tuple[str, str, Any]]:
        for (kind, profile_id, name), of in self.latest.items():
            if kind == topic and of is not None:
                yield profile_id, name, of

    def members(self, segment: str) -> list[tuple[str, int, int | None]]:
        found = [(p, of[1], of[2]) for p, s, of in self.rows("memberships") if s == segment and of[0]]
        return sorted(found, key=lambda each: each[0].encode())

    def find(self, identifier: str) -> tuple[str, dict[str, Any], dict[str, Any]] | None:
        seen = set()
        while (into := self.latest.get(("profiles", identifier, None))) not in (None, identifier):
            if identifier in seen:
                return None
            seen.add(identifier)
            identifier = into
        stays = {s: (of[1], of[2]) for p, s, of in self.rows("memberships") if p == identifier and of[0]}
        values = {i: of for p, i, of in self.rows("indicators") if p == identifier}
        if into is None and not stays and not values:
            return None
        return (
            identifier,
            {s: stay for s, stay in stays.items() if s in SHOWN.exposed},
            {i: of for i, of in values.items() if i in SHOWN.indicators},
        )


def found_in(view: View, identifier: str) -> tuple[str, dict[str, Any], dict[str, Any]] | None:
    found = view.find(identifier)
    if found is None:
        return None
    stays = {key: (stay.since, stay.until) for key, stay in found.memberships.items()}
    return found.profile_id, stays, plain(found.indicators)


@examples(30, of=300)
@given(
    batches=st.lists(st.lists(memberships | indicators | profiles, min_size=1, max_size=12), max_size=6),
    limit=st.integers(1, 3),
)
def test_the_view_equals_a_fold_of_the_latest_records(batches: list[list[Step]], limit: int) -> None:
    view, steps = View(MemoryStores().open(0)), []
    view.shown = SHOWN
    for batch in batches:
        take(view, batch)
        steps += batch
        reference = Reference(steps)
        assert {each: found_in(view, each) for each in IDS} == {each: reference.find(each) for each in IDS}
        for segment in SEGMENTS:
            assert paged(view, segment, limit) == reference.members(segment)


def paged(view: View, segment: str, limit: int) -> list[tuple[str, int, int | None]]:
    members, after = [], ""
    while True:
        page = view.members(segment, after, limit)
        assert len(page.members) <= limit
        members += [(each.profile_id, each.stay.since, each.stay.until) for each in page.members]
        assert page.members or not after  # no cursor leads to an empty page
        if page.after is None:
            return members
        after = page.after


def test_pages_of_one_pass_stay_in_order_while_members_come_and_go() -> None:
    view = View(MemoryStores().open(0))
    view.take_memberships({row_key(f"user_id:{n}", "vip"): row("", "vip", member=True) for n in range(6)})
    first = view.members("vip", "", 2)
    view.take_memberships(
        {
            row_key("user_id:1", "vip"): None,  # the cursor itself
            row_key("user_id:0a", "vip"): row("", "vip", member=True),
            row_key("user_id:3", "vip"): row("", "vip", member=False),
        }
    )
    assert first.after == "user_id:1"
    rest = view.members("vip", first.after, 9)
    assert ids(first.members) + ids(rest.members) == [f"user_id:{n}" for n in (0, 1, 2, 4, 5)]
    assert rest.after is None


@pytest.mark.parametrize("bad", [b"{", b"[]", b'{"member": 1}', b"\xff"])
def test_unreadable_records_change_nothing(bad: bytes) -> None:
    view = View(MemoryStores().open(0))
    view.shown = SHOWN
    take(view, [("memberships", IDS[0], "vip", (True, 1, None)), ("indicators", IDS[0], "aov", 5)])
    before = found_in(view, IDS[0])
    view.take_memberships({row_key(IDS[0], "vip"): bad, b"\xff|vip": bad, b"no bar": bad})
    view.take_indicators({value_key(IDS[0], "aov"): bad})
    view.take_profiles({b"user_id:a": bad, b"\xff": bad})
    assert found_in(view, IDS[0]) == before


def test_a_quarantined_profile_is_no_redirect() -> None:
    view = View(MemoryStores().open(0))
    take(view, [("profiles", "user_id:a", None, "user_id:b")])
    view.take_profiles({b"user_id:a": encode_quarantined_head(None, [])})
    assert found_in(view, "user_id:a") == ("user_id:a", {}, {})


def test_nothing_is_left_of_an_erased_person() -> None:
    store = MemoryStores().open(0)
    view = View(store)
    take(
        view,
        [
            ("profiles", "user_id:a", None, "user_id:a"),
            ("profiles", "email:a", None, "user_id:a"),
            ("memberships", "user_id:a", "vip", (True, 1, None)),
            ("indicators", "user_id:a", "aov", 5),
        ],
    )
    assert len(store.profile_ids(None, 9)) == 4
    take(
        view,
        [
            ("profiles", "user_id:a", None, None),
            ("profiles", "email:a", None, None),
            ("memberships", "user_id:a", "vip", None),
            ("indicators", "user_id:a", "aov", None),
        ],
    )
    assert store.profile_ids(None, 9) == []


def test_what_definitions_let_be_shown() -> None:
    vip = Definition("vip", "VIP", KnownFor(1), expose=True)
    other = Definition("other", "Other", KnownFor(1))
    assert Shown.of([vip, other]) == Shown(frozenset({"vip", "other"}), frozenset({"vip"}))
