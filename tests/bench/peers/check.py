"""The check of an output: no change may be missing, wrong, duplicate or out of order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from .reference import Change

_Histories = Mapping[tuple[str, str], list[tuple[str, int]]]
_SHOWN = 5


def differences(expected: Iterable[Change], got: Iterable[Change]) -> list[str]:
    """Return one line per (profile, segment) whose changes differ from the expected ones."""
    wanted, found = _histories(expected), _histories(got)
    wrong = [key for key in wanted.keys() | found.keys() if wanted.get(key, []) != found.get(key, [])]
    return [f"{key}: expected {wanted.get(key, [])}, got {found.get(key, [])}" for key in sorted(wrong)]


def summary(lines: list[str]) -> str:
    """Return the number of differences and the first of them."""
    return "\n".join([f"{len(lines)} histories differ", *lines[:_SHOWN]])


def _histories(changes: Iterable[Change]) -> _Histories:
    made: dict[tuple[str, str], list[tuple[str, int]]] = defaultdict(list)
    for change in changes:
        made[change.user, change.segment].append((change.action, change.at_ms))
    return made
