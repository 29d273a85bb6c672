"""The audiences of a running system as they are shown: state, live reach, plan, approval, audit."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from segops.analytics.reader import reading_sizes
from segops.config import Settings
from segops.core.audiences.audit import AuditEntry, Finding, entry_of, examined
from segops.core.audiences.model import Audience, AudienceRecord, ReachPlan, Signed, State
from segops.kafka import reading
from segops.kafka.topics import single_partition
from segops.operations.audiences.store import Known, read_known
from segops.wall_clock import wall_ms

logger = logging.getLogger(__name__)


class AudienceView(msgspec.Struct, frozen=True):
    """An audience as it stands.

    ``state`` is the one that counts; ``void``: why what was submitted or approved does not. ``reach``: the
    members now; None if no worker has published a size. ``approval``: the audit entry of the latest approval,
    which may be void. ``note``: why it is held or was rejected.
    """

    key: str
    segment: str
    channel: str
    state: State
    void: tuple[str, ...]
    since_ms: int
    reach: int | None
    authors: tuple[str, ...]
    by_ai: bool
    plan: ReachPlan | None
    approval: AuditEntry | None
    note: str
    audience: Audience


async def views(settings: Settings, keys: Iterable[str] = ()) -> list[AudienceView]:
    """Return audiences by key; without ``keys``, all of them. Raises UserError for an unknown one."""
    known = await read_known(settings, now_ms=wall_ms())
    chosen = [known.record(key) for key in keys] or [known.records[key] for key in sorted(known.records)]
    async with reading_sizes(settings) as reader:
        sizes = {each.audience.key: reader.folded.segment(each.audience.definition_key) for each in chosen}
    members = {key: None if view is None else view.members for key, view in sizes.items()}
    return [_view(known, each, members[each.audience.key]) for each in chosen]


def _view(known: Known, record: AudienceRecord, members: int | None) -> AudienceView:
    status, audience = known.status(record), record.audience
    return AudienceView(
        audience.key,
        audience.segment,
        audience.channel,
        status.state,
        tuple(status.void),
        record.since_ms,
        None if status.state == "retired" else members,
        record.authors,
        record.by_ai,
        record.plan,
        None if record.approval is None else entry_of(record.approval),
        record.note,
        audience,
    )


class Audited(NamedTuple):
    """The entries of the audit, those that are missing at its end, and the records that are none."""

    findings: list[Finding]
    missing: list[str]
    unreadable: int


async def read_audit(settings: Settings, key: str | None = None) -> Audited:
    """Return the audit, of one audience or of all, with what its signatures and numbers say.

    Raises UserError for an unknown audience.
    """
    known = await read_known(settings, now_ms=wall_ms())
    chosen = None if key is None else known.record(key).audience.key
    entries, unreadable = [], 0
    for record in await reading.read_all(
        settings.kafka, await single_partition(settings.kafka, settings.topics.audit)
    ):
        try:
            signed = msgspec.json.decode(record.value or b"", type=Signed)
            entry_of(signed)
        except msgspec.MsgspecError as error:
            logger.warning("skipping audit record %d: %s", record.offset, error)
            unreadable += 1
            continue
        entries.append(signed)
    found = list(examined(entries, known.trust.keys))
    wanted = [each for each in found if chosen in (None, each.entry.audience)]
    records = known.records.values() if chosen is None else [known.records[chosen]]
    return Audited(wanted, list(_missing(wanted, records)), unreadable)


def _missing(findings: Iterable[Finding], records: Iterable[AudienceRecord]) -> Iterable[str]:
    last = {each.entry.audience: each.entry.number for each in findings}
    for record in records:
        number = last.get(record.audience.key, 0)
        if number != record.version:
            yield f"{record.audience.key} has {record.version:,} entries, and the last one here is {number:,}"
