"""The sources topic as its readers and publishers see it, without Kafka."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec

from segops.kafka.resources import ResourceLog
from segops.sources.parsing import encode
from segops.sources.published import SOURCE, change_of

from .helpers import source_of

MAP = "map: {event: A, userId: id}"


class Stored(NamedTuple):
    """A record of the topic."""

    key: bytes
    value: bytes | None
    offset: int = 0


def test_log_holds_the_latest_source_of_each_topic(tmp_path: Path) -> None:
    bad: list[str] = []
    log = ResourceLog(SOURCE, bad.append)
    source = source_of(MAP, tmp_path)
    assert log.apply_all([Stored(b"orders", encode(source))])
    assert not log.apply_all([Stored(b"orders", encode(source))])
    assert log.found["orders"].written == source.written
    changed = source_of("map: {event: B, userId: id}", tmp_path)
    assert log.apply_all([Stored(b"orders", encode(changed))])
    assert log.found["orders"].written == changed.written
    assert log.apply_all([Stored(b"orders", None)])
    assert not log.apply_all([Stored(b"orders", None)])
    assert (log.found, bad) == ({}, [])


def test_record_that_cannot_be_read_leaves_the_former_source(tmp_path: Path) -> None:
    bad: list[str] = []
    log = ResourceLog(SOURCE, bad.append)
    source = encode(source_of(MAP, tmp_path))
    log.apply_all([Stored(b"orders", source)])
    for offset, value in enumerate((b"{", b"{}", b'{"source": {}, "since_ms": 1}', source), 1):
        assert not log.apply_all([Stored(b"other" if value == source else b"orders", value, offset)])
    assert log.found.keys() == {"orders"}
    assert [line.split(" (")[0] for line in bad] == [f"skipping source record {n}" for n in range(1, 5)]
    assert "the value is of 'orders'" in bad[-1]


def test_new_source_begins_where_its_topic_ends_at_the_publication(tmp_path: Path) -> None:
    latest = source_of(f"from: latest\n{MAP}", tmp_path)
    added = change_of(None, latest, {0: 5, 1: 0}, now_ms=9)
    assert added.action == "added" and added.resource is not None
    assert (added.resource.starts, added.resource.since_ms) == ({0: 5, 1: 0}, 9)
    first = change_of(None, source_of(MAP, tmp_path), {0: 5, 1: 0}, now_ms=9)
    assert first.resource is not None and first.resource.starts == {}


def test_published_source_goes_on_where_it_is(tmp_path: Path) -> None:
    former = change_of(None, source_of(f"from: latest\n{MAP}", tmp_path), {0: 5}, now_ms=9).resource
    assert former is not None
    changed = source_of("from: earliest\nmap: {event: B, userId: id}", tmp_path)
    for source, action in ((former, "unchanged"), (changed, "changed")):
        found = change_of(former, msgspec.structs.replace(source, starts={}, since_ms=0), {0: 7}, now_ms=10)
        assert found.action == action and found.resource is not None
        assert (found.resource.starts, found.resource.since_ms) == ({0: 5}, 9)
