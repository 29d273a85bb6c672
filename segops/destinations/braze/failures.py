"""Who failed, as an answer of Braze says it: a 2xx status does not mean that all objects were taken.

Braze documents ``errors`` without their form. That an error has ``type``, ``input_array`` and ``index``,
which counts in that array, was seen in answers that public clients of Braze quote.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from segops.destinations.braze.api import fields_of
from segops.destinations.braze.bodies import Naming, having
from segops.destinations.http import Answer
from segops.destinations.port import Message, Refused

_ARRAYS: Final = ("attributes", "events")
_UNPLACED: Final = "an error of another user, or of this one: "


def named_in(answer: Answer, messages: Sequence[Message], naming: Naming) -> dict[str, Refused]:
    """Return, by address, the messages whose objects an answer names."""
    found: dict[str, Refused] = {}
    for reason, array, index in _errors(answer):
        of = having(array, messages, naming)
        if 0 <= index < len(of):
            found.setdefault(of[index].address, Refused(reason))
    return found


def possible_in(answer: Answer, messages: Sequence[Message], naming: Naming) -> dict[str, Refused]:
    """Return, by address, the messages that an error without a place may be about.

    They are not sent again: most were taken, and Braze would record their events a second time.
    """
    found: dict[str, Refused] = {}
    for reason, array, index in _errors(answer):
        if 0 <= index < len(having(array, messages, naming)):
            continue
        for name in (array,) if array in _ARRAYS else _ARRAYS:
            for each in having(name, messages, naming):
                found.setdefault(each.address, Refused(_UNPLACED + reason))
    return found


def _errors(answer: Answer) -> Iterator[tuple[str, str, int]]:
    """Yield the errors of an answer: the reason, the array, and the index in it, -1 if it says none."""
    errors = fields_of(answer).get("errors")
    for each in errors if isinstance(errors, list) else ():
        error = each if isinstance(each, dict) else {"type": each}
        index = error.get("index")
        reason = answer.shown(str(error.get("type", error)))
        yield reason, str(error.get("input_array", "")), index if isinstance(index, int) else -1
