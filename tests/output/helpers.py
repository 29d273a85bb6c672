"""Changes, drawn and by example, and how the records of a format are read back."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from hypothesis import strategies as st

from segops.core.events import Change
from segops.schemas.records import Headers

CHANGE = Change(
    profile_id="user_id:u1",
    segment_key="vip",
    segment_version=3,
    action="entered",
    member=True,
    reason="event",
    occurred_at=1_760_000_000_000,
    evaluated_at=1_760_000_000_007,
    sequence=12,
    change_id="c12",
    event_id="m1",
    flips_at=None,
    user_id="u1",
    anonymous_id=None,
    email="ann@example.com",
    traits_json='{"plan":"gold"}',
)
LEFT = msgspec.structs.replace(CHANGE, action="exited", member=False, sequence=13, change_id="c13")

_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_ids = _texts.filter(bool)
LAST_MS = 253_402_300_799_999
_times = st.integers(0, LAST_MS)


@st.composite
def changes(draw: st.DrawFn) -> Change:
    """Draw a change with any texts, also NUL and the separator of keys, and any absent fields."""
    member = draw(st.booleans())
    return Change(
        profile_id=draw(_ids),
        segment_key=draw(st.from_regex(r"[a-z][a-z0-9_-]{0,20}", fullmatch=True)),
        segment_version=draw(st.integers(1, 2**40)),
        action="entered" if member else "exited",
        member=member,
        reason=draw(st.sampled_from(["event", "time", "merge"])),
        occurred_at=draw(_times),
        evaluated_at=draw(_times),
        sequence=draw(st.integers(1, 2**60)),
        change_id=draw(st.from_regex(r"[0-9a-f]{64}", fullmatch=True)),
        event_id=draw(st.none() | _texts),
        flips_at=draw(st.none() | st.integers(0, 10**15)),
        user_id=draw(st.none() | _ids),
        anonymous_id=draw(st.none() | _ids),
        email=draw(st.none() | _ids),
        traits_json=draw(_texts),
        merged_into=draw(st.none() | _ids),
    )


def plain(change: Change) -> dict[str, Any]:
    """Return a change as columns, with what formats write for NUL and for instants after the year 9999."""
    columns = msgspec.structs.asdict(change)
    if columns["flips_at"] is not None and columns["flips_at"] > LAST_MS:
        columns["flips_at"] = None
    return {
        name: value.replace("\0", "\ufffd") if isinstance(value, str) else value
        for name, value in columns.items()
    }


class Written(NamedTuple):
    """A record of a topic."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    offset: int = 0
    timestamp: int = 0
