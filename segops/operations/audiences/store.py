"""The published audiences, and the transaction that writes state, definition and audit together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Final, NamedTuple
from uuid import uuid4

import msgspec

from segops.config import Settings
from segops.core.audiences.approval import Status, editions_of, status_of
from segops.core.audiences.audit import AuditEntry, Trust, digest, sign
from segops.core.audiences.model import PREFIX, Act, AudienceRecord, ReachPlan, Signed
from segops.core.audiences.states import Action
from segops.core.errors import UserError
from segops.core.segments import Definition
from segops.kafka import resources
from segops.kafka.definitions import DefinitionLog, read, require_topic
from segops.kafka.publication import publisher
from segops.kafka.topics import single_partition
from segops.operations.definitions import DefinitionChange, in_use, records_of
from segops.schemas.audiences import decode_record, encode_record

AUDIENCE: Final = resources.Kind("audience", attrgetter("audience.key"), encode_record, decode_record)


def topic_of(settings: Settings) -> resources.ResourceTopic[AudienceRecord]:
    """Return the topic of the audiences, by key."""
    return resources.ResourceTopic(AUDIENCE, settings.kafka, settings.topics.audiences)


class Known(NamedTuple):
    """The published audiences by key, and the definitions, as of an instant."""

    log: DefinitionLog
    definitions: Mapping[str, Definition]
    records: Mapping[str, AudienceRecord]
    trust: Trust
    now_ms: int

    def record(self, key: str) -> AudienceRecord:
        """Return an audience. Raises UserError if it is not published."""
        if (found := self.records.get(key.removeprefix(PREFIX))) is None:
            published = ", ".join(sorted(self.records)) or "none"
            raise UserError(f"unknown audience {key!r}; published: {published}")
        return found

    def editions(self, record: AudienceRecord) -> dict[str, str]:
        """Return what decides about an audience now."""
        return editions_of(record.audience, self.definitions)

    def status(self, record: AudienceRecord) -> Status:
        """Return the state of an audience that counts."""
        return status_of(record, self.editions(record), self.trust.approved(record), now_ms=self.now_ms)


class Decision(NamedTuple):
    """What an action does to an audience: its ``record`` afterwards, and what the audit says of it.

    ``before``: None for a new audience. ``effect``: of an edit, in a word. ``changes``: what becomes of its
    definition, and of those that measure its lift.
    """

    action: Action
    before: AudienceRecord | None
    record: AudienceRecord
    effect: resources.Action = "changed"
    changes: Sequence[DefinitionChange] = ()
    editions: Mapping[str, str] = {}
    seen: ReachPlan | None = None
    reach: int | None = None
    note: str = ""


#: Decides what is done, given what is published when no one else can write.
Decide = Callable[[Known], Sequence[Decision]]


async def read_known(settings: Settings, *, now_ms: int) -> Known:
    """Return what is published. Raises UserError if a topic is missing."""
    log = await read(settings)
    records = await topic_of(settings).read()
    return Known(log, in_use(log.live), records, Trust(settings.audiences.verifying_keys), now_ms)


async def commit(settings: Settings, act: Act, decide: Decide) -> Sequence[Decision]:
    """Publish, in one transaction, what ``decide`` does: audiences, their definitions, and the audit.

    Raises UserError when a topic is missing or another publisher commits first; nothing is written then.
    """
    await require_topic(settings)
    await single_partition(settings.kafka, settings.topics.audit)
    async with publisher(settings.kafka, settings.topics.segments) as publish_all:
        known = await read_known(settings, now_ms=act.at_ms)
        decisions = decide(known)
        changes = [change for each in decisions for change in each.changes]
        records, beside = await records_of(settings, known.log, changes)
        written = [_written(each, act, settings.audiences.signing_key) for each in decisions]
        audiences = [(each.audience.key.encode(), encode_record(each)) for each, _, _ in written]
        audit = [(key.encode(), msgspec.json.encode(signed)) for _, key, signed in written]
        topics = settings.topics
        await publish_all(records, {**beside, topics.audiences: audiences, topics.audit: audit})
    return decisions


def _written(decision: Decision, act: Act, key: bytes | None) -> tuple[AudienceRecord, str, Signed]:
    """Return the audience to publish, and the id of its audit entry and the signed entry."""
    before, record = decision.before, decision.record
    former = None if before is None else before.latest
    entry = AuditEntry(
        uuid4().hex,
        record.audience.key,
        1 if before is None else before.version + 1,
        "" if former is None else digest(former),
        act,
        decision.action,
        "draft" if before is None else before.state,
        record.state,
        decision.editions,
        decision.seen,
        decision.reach,
        decision.note,
    )
    signed = sign(entry, key)
    approval = signed if decision.action == "approve" else record.approval
    published = msgspec.structs.replace(record, version=entry.number, latest=signed, approval=approval)
    return published, entry.id, signed
