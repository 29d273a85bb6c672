"""What is counted of events, what is never kept, and that slices of a catalogue add up."""

from __future__ import annotations

from functools import reduce
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.catalogue import counters
from segops.catalogue.counters import MAX_DAYS, MAX_FIELDS, MAX_LABELS, Catalogue, Entry, Key, merged
from segops.core.events import Event
from tests.rest import examples

from .helpers import DAY_MS, MANY, counted, event, field_of, of_many, shown, stored, without_texts


def test_events_are_counted_by_source_name_and_day() -> None:
    found = counted(
        [
            ("web", event("A", 5, a=1), "u"),
            ("web", event("A", DAY_MS, b="x"), "u"),
            ("app", event("A", 7), "u"),
            ("web", event("B", 9), "u"),
        ]
    ).entries
    assert found.keys() == {Key("event", "web", "A"), Key("event", "app", "A"), Key("event", "web", "B")}
    entry = found[Key("event", "web", "A")]
    assert (entry.count, entry.first_ms, entry.last_ms, entry.days) == (2, 5, DAY_MS, {0: 1, 1: 1})
    assert {name: field.types for name, field in entry.fields.items()} == {
        "a": {"number": 1},
        "b": {"string": 1},
    }


def test_traits_are_counted_apart_from_events() -> None:
    found = counted([("web", event("identify", 0, {"plan": "pro"}, plan="pro"), "u")])
    assert found.entries[Key("traits", "web", "")].fields["plan"].count == 1


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        (1, "number"),
        (1.5, "number"),
        (True, "boolean"),
        ("x", "string"),
        ("2026-03-01", "date"),
        ("2026-03-01T10:00:00Z", "date"),
        ("2026 was good", "string"),
        ([1], "list"),
        ({"a": 1}, "object"),
        (None, "null"),
    ],
)
def test_types(value: Any, type_: str) -> None:
    assert field_of(of_many(value)).types == {type_: 40}


def test_values_within_objects_have_paths() -> None:
    fields = of_many({"b": {"c": {"d": 1}}}, name="a").entries[Key("event", "web", "A")].fields
    assert list(fields) == ["a", "a.b", "a.b.c"]


def test_country_is_recognised_by_name_and_form() -> None:
    assert field_of(of_many("DE", name="country"), "country").types == {"iso2": 40}
    assert field_of(of_many("DE", "Germany", name="country"), "country").types == {"iso2": 40, "string": 40}
    assert field_of(of_many("XL", name="size"), "size").types == {"string": 40}


def test_label_is_kept_once_several_profiles_had_it() -> None:
    one = counted(("web", event(x="Shoes"), MANY[0]) for _ in range(100))
    assert "Shoes" not in stored(one) and shown(one).values is None
    several = of_many("Shoes", "Bags")
    assert shown(several).values == {"Shoes": 40, "Bags": 40}


def test_range_is_shown_once_several_profiles_had_it() -> None:
    one = counted([("web", event(x=1234), MANY[0])])
    assert shown(one).range is None
    assert shown(of_many(1234, -5.55)).range == (-5.6, 1300.0)


SECRETS = [
    "ann@shop.example",
    "+49 151 23456789",
    "4111 1111 1111 1111",
    "a8f3e2b1c9d0e7f6a8f3",
    "eyJhbGciOiJIUzI1NiJ9.e30.x1",
    "https://shop.example/u/1",
    "12 Rue de Rivoli, 75001 Paris, France and more",
    "203.0.113.7",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_texts_that_may_be_personal_are_never_kept(secret: str) -> None:
    catalogue = of_many(secret)
    assert field_of(catalogue).labels is None
    assert secret not in stored(catalogue)


@pytest.mark.parametrize(
    "name",
    ["name", "firstName", "last_name", "customer.email", "order_id", "userId", "street", "phone_number"],
)
def test_fields_that_name_persons_have_neither_labels_nor_ranges(name: str) -> None:
    catalogue = of_many("Anna", 7, name=name)
    field = field_of(catalogue, name)
    assert (field.labels, field.low, field.types) == (None, None, {"string": 40, "number": 40})
    assert "Anna" not in stored(catalogue)


@pytest.mark.parametrize("name", ["ann@shop.example", "u_8412345", "a8f3e2b1c9d0e7f6a8f3"])
def test_names_that_may_be_values_are_hidden(name: str) -> None:
    catalogue = counted([("web", event(name, **{name: "x"}, ids={name: 1}), "u")])
    assert name not in stored(catalogue)
    assert set(field_of(catalogue, "*", event_name="*").types) == {"string"}


def test_large_numbers_have_no_range() -> None:
    assert field_of(of_many(4915123456789, 10**400)).high is None


def test_labels_end_where_there_are_too_many() -> None:
    words = [f"Label {chr(97 + n)}" for n in range(MAX_LABELS + 1)]
    assert field_of(of_many(*words[:-1])).labels is not None
    assert field_of(of_many(*words)).labels is None


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters, "MAX_ENTRIES", 3)
    wide = {f"p{chr(97 + n // 26)}{chr(97 + n % 26)}": 1 for n in range(MAX_FIELDS + 5)}
    catalogue = counted([("web", event(**wide), "u")] * 2)
    entry = catalogue.entries[Key("event", "web", "A")]
    assert (len(entry.fields), entry.others) == (MAX_FIELDS, 10)
    for name in "BCDEF":
        catalogue.observe("web", event(name, x=1), "u")
    assert [key.event for key in catalogue.entries] == ["A", "B", "C", "(others)"]
    assert catalogue.entries[Key("event", "*", "(others)")].count == 3
    for day in range(MAX_DAYS + 5):
        catalogue.observe("web", event("B", day * DAY_MS), "u")
    assert list(catalogue.entries[Key("event", "web", "B")].days) == list(range(5, MAX_DAYS + 5))


def test_all_fields_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters, "MAX_ALL_FIELDS", 2)
    stored_before = of_many(1, name="a").entries[Key("event", "web", "A")]
    catalogue = Catalogue("salt", 3)
    catalogue.add(stored_before)
    catalogue.observe("web", event("B", b=1, c=2), "u")
    entry = catalogue.entries[Key("event", "web", "B")]
    assert (list(entry.fields), entry.others) == (["b"], 1)


def test_frequent_events_are_sampled_but_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters, "FULLY_READ", 100)
    entry = counted(("web", event(x=1), "u") for _ in range(300)).entries[Key("event", "web", "A")]
    assert (entry.count, entry.read, entry.fields["x"].count) == (300, 120, 120)


# -- slices add up ------------------------------------------------------------------------------------------

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5_000, 5_000),
    st.floats(-50, 50),
    st.sampled_from(["Shoes", "Bags", "DE", "2026-03-01", "ann@shop.example"]),
    st.just([1]),
)
PROPERTIES = st.dictionaries(
    st.sampled_from(["a", "b", "country", "name"]),
    VALUES | st.dictionaries(st.sampled_from(["c", "d"]), VALUES, max_size=2),
    max_size=3,
)
EVENTS = st.builds(
    lambda time_ms, properties, who: ("web", Event("A", time_ms, "m", properties), f"user_id:u{who}"),
    st.integers(0, 60 * DAY_MS),
    PROPERTIES,
    st.integers(0, 9),
)
PARTS = st.lists(st.lists(EVENTS, max_size=6), min_size=1, max_size=4)
KEY = Key("event", "web", "A")


def _entry(events: Any) -> Entry:
    return counted(events).entries.get(KEY, Entry(*KEY))


@examples(100, of=500)
@given(PARTS)
def test_slices_of_a_catalogue_add_up_to_the_whole(slices: Any) -> None:
    entries = [_entry(each_slice) for each_slice in slices]
    whole = _entry([each for each_slice in slices for each in each_slice])
    assert without_texts(reduce(merged, entries)) == without_texts(whole)


@examples(100, of=500)
@given(PARTS, st.randoms(use_true_random=False))
def test_order_of_merging_does_not_matter(slices: Any, random: Any) -> None:
    entries = [_entry(each_slice) for each_slice in slices]
    forward = reduce(merged, entries)
    backward = reduce(lambda one, other: merged(other, one), reversed(entries))
    random.shuffle(entries)
    shuffled = reduce(merged, entries)
    assert without_texts(forward) == without_texts(backward) == without_texts(shuffled)


@examples(50, of=300)
@given(st.lists(EVENTS, max_size=8), st.lists(EVENTS, max_size=8))
def test_stored_catalogue_goes_on_as_if_it_had_not_been_stored(before: Any, after: Any) -> None:
    whole = counted([*before, *after])
    restored = Catalogue("salt", 3)
    for entry in counted(before).entries.values():
        restored.add(msgspec.json.decode(msgspec.json.encode(entry), type=Entry))
    for source, each, profile in after:
        restored.observe(source, each, profile)
    assert restored.entries == whole.entries


@examples(50, of=300)
@given(st.lists(st.lists(EVENTS, max_size=5), min_size=2, max_size=3), st.integers(1, 3))
def test_beyond_the_limits_nothing_is_counted_twice(slices: Any, limit: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counters, "MAX_FIELDS", limit)
        found = reduce(merged, [_entry(each_slice) for each_slice in slices])
    whole = _entry([each for each_slice in slices for each in each_slice])
    assert found.count == whole.count and len(found.fields) <= limit
    for name, field in found.fields.items():
        assert field.count <= whole.fields[name].count
    total = sum(field.count for field in found.fields.values()) + found.others
    assert total == sum(field.count for field in whole.fields.values())
