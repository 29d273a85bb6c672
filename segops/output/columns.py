"""The columns of a published change, for formats that declare a schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

Kind = Literal["string", "boolean", "int64", "timestamp"]


class Column(NamedTuple):
    """The type of a column; a timestamp is in milliseconds. ``nullable``: null is a value of it."""

    kind: Kind
    nullable: bool = False


#: The fields of ``Change``, in their order. A later version may only add nullable columns at the end.
COLUMNS: Final[Mapping[str, Column]] = {
    "profile_id": Column("string"),
    "segment_key": Column("string"),
    "segment_version": Column("int64"),
    "action": Column("string"),
    "member": Column("boolean"),
    "reason": Column("string"),
    "occurred_at": Column("timestamp"),
    "evaluated_at": Column("timestamp"),
    "sequence": Column("int64"),
    "change_id": Column("string"),
    "event_id": Column("string", nullable=True),
    "flips_at": Column("timestamp", nullable=True),
    "user_id": Column("string", nullable=True),
    "anonymous_id": Column("string", nullable=True),
    "email": Column("string", nullable=True),
    "traits_json": Column("string"),
    "merged_into": Column("string", nullable=True),
}
#: The columns of the key of a membership, which are the primary key of a table.
MEMBERSHIP_KEY: Final = ("profile_id", "segment_key")
#: The column of the key of a change, so that the changes of a profile keep their order.
CHANGE_KEY: Final = ("profile_id",)
