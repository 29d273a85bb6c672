"""What a recorded plan says of its edit: the changes, and the definitions that these were derived from."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from segops.kafka.definitions import DefinitionLog
from segops.operations.definitions import DefinitionChange
from segops.schemas.planned import PlannedChange
from segops.schemas.segments import definition_to_record


def state_of(log: DefinitionLog) -> str:
    """Return a hash of all definitions and retired keys of a log, and of the models in force."""
    live = [(key, definition_to_record(each).decode()) for key, each in sorted(log.live.items())]
    models = {} if log.models is None else log.models.digest()
    of = (live, sorted(log.retired), *([sorted(models.items())] if models else []))
    return hashlib.sha256(msgspec.json.encode(of)).hexdigest()


def planned_change(change: DefinitionChange) -> PlannedChange:
    """Return a change as a plan records it."""
    raw = msgspec.Raw(change.record or b"null")
    return PlannedChange(change.key, change.action, change.version, raw, change.reason, change.waits)


def change_of(planned: PlannedChange) -> DefinitionChange:
    """Return the change that a plan records."""
    record = None if (value := bytes(planned.record)) == b"null" else value
    action: Any = planned.action
    return DefinitionChange(planned.key, action, planned.version, record, planned.reason, planned.waits)
