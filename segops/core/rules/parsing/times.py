"""The parser of ``time_of_day``."""

from __future__ import annotations

import re
from typing import Any

from segops.core.operators import Predicate
from segops.core.paths import TIME, Path
from segops.core.rules.parsing.reader import Reader
from segops.core.time_of_day import DAY_MS, DAYS, MINUTE_MS, TimeOfDay

_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00", re.ASCII)
_EXAMPLE = '{days: [sat, sun], from: "18:00", to: "22:00", zone: Europe/Paris}'


def read_time_of_day(form: Reader) -> tuple[Path, Predicate]:
    """Parse the condition on the local day and time of an event, as a condition of ``where``.

    >>> read_time_of_day(Reader({"days": ["sun", "sat"]}, "when.time_of_day"))[1].days
    (5, 6)
    """
    found = form.fields({"days": _days, "from": read_clock, "to": read_clock, "zone": Reader.zone})
    begin, end = found.get("from"), found.get("to")
    if (begin is None) is not (end is None):
        form.fail(f"expected from and to together, such as {_EXAMPLE}")
    if "days" not in found and begin is None:
        form.fail(f"expected days, or from and to, such as {_EXAMPLE}")
    from_ms, to_ms = (0, DAY_MS) if begin is None or end is None else (begin, end)
    if from_ms in (to_ms, DAY_MS):
        form.fail("expected from before 24:00, and to at another time; leave both out for the whole day")
    return TIME, TimeOfDay((), found.get("days", ()), from_ms, to_ms, found.get("zone", "UTC"))


def _days(reader: Reader) -> tuple[int, ...]:
    names = reader.values("a non-empty list of days, such as [sat, sun]")
    return tuple(sorted({DAYS.index(name.one_of(DAYS)) for name in names}))


def read_clock(reader: Reader) -> int:
    """Read a time of day as it is written; return milliseconds after midnight, up to those of a day."""
    raw: Any = reader.raw
    found = _CLOCK.fullmatch(raw) if isinstance(raw, str) else None
    if found is None:
        reader.fail(f'expected a time of day in quotes, such as "18:00", got {raw!r}')
    return DAY_MS if found[1] is None else (int(found[1]) * 60 + int(found[2])) * MINUTE_MS
