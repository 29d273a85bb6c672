"""The edit of the latest plan: one record of the segments topic, under its own key.

A version that does not know the record logs that it skips a definition, and continues.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from segops.core.errors import DefinitionError
from segops.schemas.shared_models import shared, whole

#: The key of the record in the segments topic; no segment has it.
PLAN_KEY: Final = b"\x00plan"
#: The record of a change that publishes nothing.
NO_RECORD: Final = b"null"
#: How long a plan can be applied, in ms.
VALID_MS: Final = 86_400_000
#: The most bytes of a plan, so that every broker takes it.
MAX_PLAN_BYTES: Final = 900_000


State = Literal["open", "applied", "discarded", "superseded"]


class PlannedChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """One change: what it does to the segment ``key``, and the record to publish (none: nothing)."""

    key: str
    action: str
    version: int
    record: msgspec.Raw = msgspec.Raw(NO_RECORD)
    reason: str = ""
    waits: bool = False


class PlannedEdit(msgspec.Struct, frozen=True, omit_defaults=True):
    """An edit that was planned: exactly the records that applying it publishes.

    ``base``: a hash of the published definitions that it edits; ``made_ms``: when it was planned, by the wall
    clock of that machine; ``state``: ``open``, or how it ended, without ``changes`` then. ``history``: the
    workers collect the history that it needs while it is open.
    """

    id: str
    made_ms: int
    base: str = ""
    changes: tuple[PlannedChange, ...] = ()
    state: State = "open"
    history: bool = False

    @property
    def expires_ms(self) -> int:
        """The instant from which it cannot be applied any more."""
        return self.made_ms + VALID_MS

    @property
    def records(self) -> dict[bytes, bytes]:
        """The records that it publishes, by key."""
        found = {each.key.encode(): bytes(each.record) for each in self.changes}
        return {key: record for key, record in found.items() if record != NO_RECORD}

    def is_open(self, now_ms: int) -> bool:
        """Return whether it can be applied at this instant."""
        return self.state == "open" and now_ms < self.expires_ms

    def ended(self, state: State) -> PlannedEdit:
        """Return what is left of the plan once it has ended."""
        return PlannedEdit(self.id, self.made_ms, state=state)


class _Planned(msgspec.Struct, frozen=True):
    """A plan as it is written: the records of its changes name their ``models``, which stand beside them."""

    plan: PlannedEdit
    models: dict[str, msgspec.Raw]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(PlannedEdit)
_with_models = msgspec.json.Decoder(_Planned)
_MARK: Final = b'{"plan":'


def encode_planned(planned: PlannedEdit) -> bytes:
    """Encode a plan. Raises ValueError if it is larger than a record may be."""
    found = shared(bytes(each.record) for each in planned.changes)
    plan = _with_records(planned, found.records)
    value = _encoder.encode(_Planned(plan, found.models) if found.models else plan)
    if len(value) > MAX_PLAN_BYTES:
        sizes = f"{len(value):,} bytes{found.sizes()}"
        raise ValueError(f"the plan has {sizes}, more than {MAX_PLAN_BYTES:,}")
    return value


def decode_planned(value: bytes | None) -> PlannedEdit | None:
    """Decode a plan; None for a deleted one. Raises ValueError for an invalid record."""
    if value is None:
        return None
    try:
        if not value.startswith(_MARK):
            return _decoder.decode(value)
        found = _with_models.decode(value)
        records = whole((each.record for each in found.plan.changes), found.models)
        return _with_records(found.plan, map(msgspec.Raw, records))
    except (msgspec.MsgspecError, UnicodeDecodeError, DefinitionError) as error:
        raise ValueError(f"invalid plan: {error}") from error


def _with_records(planned: PlannedEdit, records: Iterable[msgspec.Raw]) -> PlannedEdit:
    changes = [
        msgspec.structs.replace(each, record=record)
        for each, record in zip(planned.changes, records, strict=True)
    ]
    return msgspec.structs.replace(planned, changes=tuple(changes))
