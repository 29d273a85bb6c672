"""Whether definitions are small enough to be published: each record, and all of them in a partition's state.

Definitions carry their models. A record that no broker takes would end the publication halfway; a list that
no broker takes would stop every worker that adopts it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from segops.core.errors import UserError
from segops.kafka.definitions import DefinitionLog
from segops.schemas.in_force import pack_definitions
from segops.schemas.segments import definition_to_record
from segops.schemas.shared_models import shared

#: The most bytes of a record that every broker takes, with room for its key and headers.
MAX_RECORD_BYTES: Final = 900_000


def require_room(log: DefinitionLog, records: Mapping[bytes, bytes]) -> None:
    """Raise UserError if a record is too large, or all definitions after it are, with the sizes of models."""
    for key, record in records.items():
        if len(record) > MAX_RECORD_BYTES:
            sizes = f"{len(record):,} bytes{shared([record]).sizes()}"
            raise UserError(
                f"nothing was published: the definition of {key.decode()} has {sizes}, more than "
                f"{MAX_RECORD_BYTES:,}"
            )
    if records:
        _require_together(log, records)


def _require_together(log: DefinitionLog, records: Mapping[bytes, bytes]) -> None:
    later = list(log.after(records).live.values())
    found = shared(map(definition_to_record, later))
    if found.size <= MAX_RECORD_BYTES:
        return
    packed = len(pack_definitions(later))
    if packed > MAX_RECORD_BYTES:
        raise UserError(
            f"nothing was published: all definitions have {found.size:,} bytes{found.sizes()}, which are "
            f"{packed:,} compressed, more than {MAX_RECORD_BYTES:,}"
        )
