"""From a record of a membership topic to its record in a format."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from segops.config import Settings
from segops.core.events import Change
from segops.kafka.copying import Output
from segops.output.form import Form
from segops.schemas.changes import decode_change
from segops.schemas.records import Headers, Record


class TopicCopy(NamedTuple):
    """A membership topic and the topic that it is copied to.

    ``convert`` returns None for a record that no worker has written. ``row_key`` returns the target's key for
    a key of the source; it is None for a topic that is not compacted.
    """

    source: str
    target: str
    convert: Callable[[Record], Output | None]
    row_key: Callable[[bytes], bytes | None] | None


class Converted(NamedTuple):
    """The records of a batch in the format, and how many could not be read."""

    outputs: list[Output]
    skipped: int


def copies_of(settings: Settings, form: Form) -> list[TopicCopy]:
    """Return what is copied with these settings."""
    topics, name = settings.topics, settings.output.format
    memberships, changes = topics.output_memberships(name), topics.output_changes(name)
    with_exits = settings.output.exits == "rows"

    def row_key(key: bytes) -> bytes | None:
        return _row_key(form, key)

    def row(record: Record) -> Output | None:
        return _row(form, record, memberships, with_exits=with_exits)

    return [
        TopicCopy(topics.membership_state, memberships, row, row_key),
        TopicCopy(topics.membership_changes, changes, lambda record: _change(form, record, changes), None),
    ]


def convert_all(copy: TopicCopy, records: Iterable[Record]) -> Converted:
    """Convert a batch of records."""
    found = [copy.convert(record) for record in records]
    outputs = [each for each in found if each is not None]
    return Converted(outputs, len(found) - len(outputs))


def _row_key(form: Form, key: bytes) -> bytes | None:
    profile, bar, segment = key.rpartition(b"|")
    try:
        return form.membership_key(profile.decode(), segment.decode()) if bar else None
    except UnicodeDecodeError:
        return None


def _row(form: Form, record: Record, target: str, *, with_exits: bool) -> Output | None:
    key = _row_key(form, record.key or b"")
    if key is None:
        return None
    if record.value is None:
        return Output(target, key, None, [])
    change = _decoded(record.value)
    if change is None:
        return None
    if not change.member and not with_exits:
        return Output(target, key, None, [])
    return Output(target, key, form.membership(change), _headers(form, change))


def _change(form: Form, record: Record, target: str) -> Output | None:
    change = None if record.value is None else _decoded(record.value)
    if change is None:
        return None
    key = form.change_key(change.profile_id)
    return Output(target, key, form.change(change), _headers(form, change))


def _decoded(value: bytes) -> Change | None:
    try:
        return decode_change(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _headers(form: Form, change: Change) -> Headers:
    return [("content-type", form.content_type), ("segops_version", str(change.sequence).encode())]
