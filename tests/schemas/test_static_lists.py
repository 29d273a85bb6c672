"""Records of static lists, and the definitions that workers read of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from segops.core.rules.model import ListInForce, OnList
from segops.core.segments import Definition
from segops.kafka.definitions import DefinitionLog
from segops.schemas.in_force import pack_definitions, unpack_definitions
from segops.schemas.segments import definition_from_record, definition_to_record
from segops.schemas.static_lists import PublishedList, bound, decode_list, encode_list, record_key

KEY = record_key("vip")


def record(key: str = "on", when: Any = None) -> bytes:
    return json.dumps({"key": key, "version": 1, "name": key, "when": when or {"list": "vip"}}).encode()


def log_of(*lists: PublishedList) -> DefinitionLog:
    log = DefinitionLog(pytest.fail)
    log.apply(b"on", record())
    log.apply(b"other", record("other", {"did": "A"}))
    for each in lists:
        log.apply(record_key(each.key), encode_list(each))
    return log


def nodes(log: DefinitionLog) -> list[object]:
    return [each.when for each in log.published().definitions if each.key == "on"]


def test_record_is_read_back() -> None:
    published = PublishedList("vip", 4, 3, 5_000_000, 10, 20)
    assert decode_list(KEY, encode_list(published)) == published
    assert published.in_force == ListInForce(3, 20)
    assert PublishedList("vip", 4).in_force is None


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"key": "vip"}',
        b'{"key": "other", "begun": 1}',
        b'{"key": "vip", "begun": -1}',
        b'{"key": "vip", "begun": "1"}',
    ],
)
def test_unreadable_record_is_reported_and_the_former_stays(value: bytes) -> None:
    reports: list[str] = []
    log = DefinitionLog(reports.append)
    log.apply(KEY, encode_list(PublishedList("vip", 1, 1)))
    assert not log.apply(KEY, value, offset=17)
    assert log.lists["vip"].version == 1
    assert ["record 17" in each for each in reports] == [True]


def test_workers_read_the_version_in_force_and_publishers_the_rule_as_written() -> None:
    log = log_of(PublishedList("vip", 3, 2, expires_ms=50))
    assert nodes(log) == [OnList("vip", 2, 50)]
    assert log.live["on"].when == OnList("vip")
    assert b"lists" not in definition_to_record(log.live["on"])


@pytest.mark.parametrize(
    ("former", "later", "changed"),
    [
        (None, PublishedList("vip", 1), False),
        (PublishedList("vip", 1), PublishedList("vip", 1, 1), True),
        (PublishedList("vip", 1, 1), PublishedList("vip", 2, 1), False),
        (PublishedList("vip", 1, 1, 5), PublishedList("vip", 1, 1, 6), False),
        (PublishedList("vip", 1, 1), PublishedList("vip", 1, 1, expires_ms=5), True),
        (PublishedList("vip", 1, 1), PublishedList("vip", 1), True),
        (PublishedList("vip", 1, 1), None, True),
    ],
)
def test_workers_are_told_what_changes_memberships(
    former: PublishedList | None, later: PublishedList | None, changed: bool
) -> None:
    log = log_of(*([] if former is None else [former]))
    assert log.apply(KEY, None if later is None else encode_list(later)) is changed


def test_list_that_is_removed_or_unknown_is_bound_to_nothing() -> None:
    assert nodes(log_of()) == [OnList("vip")]
    log = log_of(PublishedList("vip", 1, 1))
    log.apply(KEY, encode_list(PublishedList("vip", 1)))
    assert nodes(log) == [OnList("vip")]
    log.apply(KEY, None)
    assert nodes(log) == [OnList("vip")]


def test_definitions_after_an_edit_have_the_lists_too() -> None:
    after = log_of(PublishedList("vip", 1, 1)).after({b"new": record("new")}).definitions()
    assert [(each.key, each.when) for each in after if each.key != "other"] == [
        ("new", OnList("vip", 1)),
        ("on", OnList("vip", 1)),
    ]


def test_partition_records_which_version_is_in_force() -> None:
    (definition,) = bound(definitions(), {"vip": ListInForce(2, 7), "other": ListInForce(1)})
    (stored,) = unpack_definitions(pack_definitions([definition]))
    assert (stored.when, stored.lists) == (OnList("vip", 2, 7), {"vip": {"version": 2, "expires_ms": 7}})
    assert stored.identity == definition.identity
    (unbound,) = bound([stored], {})
    assert (unbound.when, unbound.lists, unbound.identity) == (
        OnList("vip"),
        None,
        definitions()[0].identity,
    )


def definitions() -> list[Definition]:
    found = definition_from_record(record())
    assert found is not None
    return [found]
