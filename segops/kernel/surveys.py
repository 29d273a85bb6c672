"""What a survey of events reads, in the form that the kernel reads (``src/survey.rs``).

Of each path: the kinds of values that change no count of the survey, as bits. Events with such values alone
are surveyed once per combination of kinds, all others each time.
"""

from __future__ import annotations

from typing import Final

import msgspec

from segops.core.features import ANY_NAME
from segops.core.survey import Reading, Survey

_KINDS: Final = {"string": 2, "number": 4, "boolean": 8, "list": 16, "object": 32}
_DATE: Final = 64
_NUMBER: Final = frozenset(("number",))


def surveyed(survey: Survey) -> bytes:
    """Return what a survey reads: by name, of any name, of traits, each path with its bits.

    At the end: the names, and whether all, of which Python surveys each event, since it alone reads a path.
    """
    by_name = survey.readings()
    readings = {
        name: [(each.path, _quiet(each)) for each in read if each.path[0]] for name, read in by_name.items()
    }
    blind = [name for name, read in by_name.items() if not all(each.path[0] for each in read)]
    of_any = readings.pop(ANY_NAME, [])
    traits = [(path, _quiet(Reading(path, adds=adds))) for path, adds in survey.traits().items()]
    return msgspec.msgpack.encode([readings, of_any, traits, blind, ANY_NAME in blind])


def _quiet(reading: Reading) -> int:
    """Return the bits of the kinds of values that are read, and that are no numbers as text."""
    kinds = reading.kinds or _KINDS.keys()
    found = sum(bit for kind, bit in _KINDS.items() if kind in kinds)
    if reading.adds or reading.kinds == _NUMBER:
        found &= ~_KINDS["string"]
    return found | _DATE if "date" in kinds else found
