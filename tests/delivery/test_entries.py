"""The entries of a partition, from the records of its topics."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import pytest

from segops.core.delivery.messages import Person
from segops.core.delivery.model import DEAD, Delivery, Target, Told
from segops.delivery.entries import ENTRIES, REQUEST, Address, Entries, address_of
from segops.schemas.delivery import encode_entries, encode_key, encode_target, encode_told
from segops.stores.memory import MemoryStores

CRM = Delivery("crm", "winback")
ADDRESS = Address(CRM, "ann@shop.example")
TARGET = Target(True, "c1", 1, "event", 5, 6, Person("p", email="ann@shop.example"), 5)


class Record(NamedTuple):
    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


def wanted(target: Target | None, profile: str = "p") -> Record:
    value, headers = encode_target(target)
    return Record(encode_key(*CRM, ADDRESS.address, profile), value, tuple(headers))


def told(found: Told | None) -> Record:
    return Record(encode_key(*CRM, ADDRESS.address), encode_told(found))


@pytest.fixture
def starting() -> Entries:
    return Entries(MemoryStores().open(0))


@pytest.fixture
def entries(starting: Entries) -> Entries:
    """Return entries after the topics have been read from their beginning."""
    starting.forget_over([])
    return starting


def test_an_address_is_read_back_with_all_its_signs() -> None:
    odd = Address(CRM, 'a|b"c')
    assert address_of(odd.id) == odd


def test_targets_then_what_was_told_are_restored(entries: Entries) -> None:
    dead = Told(False, "c1", "p", 7, skipped=DEAD, detail="no")
    assert entries.take_targets([wanted(TARGET)]) == [ADDRESS]
    assert entries.take_told(told(dead)) is None
    (found,) = entries.read([ADDRESS.id])
    assert (found.wanted, found.told) == (TARGET, dead)


def test_an_exit_is_kept_until_what_was_told_is_restored(starting: Entries) -> None:
    left = msgspec.structs.replace(TARGET, member=False, change_id="c2", sequence=2)
    other = Address(CRM, "ben@shop.example")
    starting.take_targets([wanted(TARGET), wanted(left)])
    starting.take_targets([wanted(left)._replace(key=encode_key(*CRM, other.address, "q"))])
    starting.take_told(told(Told(True, "c1", "p", 7)))
    assert starting.forget_over(starting.ids(None, 9)) == [ADDRESS.id]
    (found,) = starting.read([ADDRESS.id])
    assert found.gone == left
    assert starting.ids(None, 9) == [ADDRESS.id]


def test_what_is_over_is_forgotten(entries: Entries) -> None:
    left = msgspec.structs.replace(TARGET, member=False, change_id="c2")
    entries.take_targets([wanted(TARGET), wanted(left)])
    assert entries.ids(None, 9) == []
    entries.take_targets([wanted(TARGET)])
    entries.take_told(told(Told(True, "c1", "p", 7)))
    entries.take_targets([wanted(left)])
    (found,) = entries.read([ADDRESS.id])
    assert found.gone == left
    entries.take_told(told(None))
    assert entries.ids(None, 9) == []


def test_a_member_of_whom_nothing_is_left_leaves(entries: Entries) -> None:
    entries.take_targets([wanted(TARGET)])
    entries.take_told(told(Told(True, "c1", "p", 7)))
    entries.take_targets([wanted(None)])
    (found,) = entries.read([ADDRESS.id])
    assert (found.targets, found.gone) == ({}, None)


def test_entries_that_a_person_was_told_of_are_counted(entries: Entries) -> None:
    key = encode_key(ENTRIES, "email", "ann@shop.example")
    entries.take_told(Record(key, encode_entries({"c1": 7})))
    assert entries.told_ms == {("email", "ann@shop.example"): {"c1": 7}}
    entries.take_told(Record(key, None))
    assert entries.told_ms == {}


def test_requests_are_returned_until_they_are_withdrawn(entries: Entries) -> None:
    key = encode_key(REQUEST, "retry", *CRM, ADDRESS.address)
    assert entries.take_told(Record(key, b"{}")) == (REQUEST, "retry", *CRM, ADDRESS.address)
    assert entries.take_told(Record(key, None)) is None


@pytest.mark.parametrize("names", [(), ("retry",), ("retry", "crm", "winback"), ("erase", *CRM, "a")])
def test_requests_of_others_are_skipped(
    entries: Entries, names: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    assert entries.take_told(Record(encode_key(REQUEST, *names), b"{}")) is None
    assert "unknown request" in caplog.text


@pytest.mark.parametrize("key", [b"", b"x", b"[]", b'["a"]', b'["a","b","c","d","e"]', b"{}"])
def test_records_of_others_are_skipped(
    entries: Entries, key: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    assert entries.take_targets([Record(key, b"{}")]) == []
    assert entries.take_told(Record(key, b"{}")) is None
    assert entries.ids(None, 9) == []
    assert "skipping" in caplog.text


def test_an_exit_that_comes_while_the_entry_is_told_is_kept_until_then(entries: Entries) -> None:
    left = msgspec.structs.replace(TARGET, member=False, change_id="c2", sequence=2)
    entries.take_targets([wanted(TARGET)])
    with entries.held([ADDRESS.id]):
        entries.take_targets([wanted(left)])
        (found,) = entries.read([ADDRESS.id])
        found.told = Told(False, "c1", "p", 7, tried="entered")
        entries.write([(ADDRESS.id, found)])
    (found,) = entries.read([ADDRESS.id])
    assert found.gone == left
    with entries.held([ADDRESS.id]):
        found.told = Told(False, "c2", "p", 8)
        entries.write([(ADDRESS.id, found)])
        assert entries.ids(None, 9) == [ADDRESS.id]
    assert entries.ids(None, 9) == []
