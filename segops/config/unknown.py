"""Unknown ``SEGOPS_`` variables: a misspelled setting is an error, any other variable a warning."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from segops.config.base import PREFIX

#: Variables that Kubernetes sets in every pod for a service whose name begins with "segops".
_SERVICE: Final = re.compile(
    PREFIX + r"(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_LINK: Final = re.compile(PREFIX + r"(\w+_)?PORT=(tcp|udp|sctp)://.*")
#: The variables of ``make test``.
_TESTS: Final = f"{PREFIX}TEST_"


@dataclass(frozen=True, slots=True)
class Unknown:
    """An unknown variable, the setting with the closest name, and whether it is a misspelling of that one."""

    name: str
    near: str | None
    misspelt: bool

    def __str__(self) -> str:
        return f"unknown setting {self.name}" + (f"; did you mean {self.near}?" if self.near else "")


def unknown(environment: Mapping[str, str], known: Collection[str]) -> list[Unknown]:
    """Return the ``SEGOPS_`` variables of ``environment`` that are neither ``known`` nor set by Kubernetes.

    >>> [str(found) for found in unknown({"SEGOPS_GARCE": "1s"}, ["SEGOPS_GRACE"])]
    ['unknown setting SEGOPS_GARCE; did you mean SEGOPS_GRACE?']
    """
    names = (name for name in sorted(environment) if name.startswith(PREFIX) and name.upper() not in known)
    return [_look(name, known) for name in names if not _is_foreign(name, environment[name])]


def _is_foreign(name: str, value: str) -> bool:
    link = _LINK.fullmatch(f"{name}={value}")
    return bool(link or _SERVICE.fullmatch(name)) or name.startswith(_TESTS)


def _look(name: str, known: Collection[str]) -> Unknown:
    nearest = min(known, key=lambda other: (edits(name, other), other))
    if edits(name, nearest) <= (1 if len(nearest) < len(PREFIX) + 8 else 2):
        return Unknown(name, nearest, misspelt=True)
    alike = difflib.get_close_matches(name, known, 1, cutoff=0.75)
    return Unknown(name, alike[0] if alike else None, misspelt=False)


def edits(one: str, other: str) -> int:
    """Return the edit distance: letters inserted, deleted, replaced, or swapped with the next one.

    >>> edits("GARCE", "GRACE"), edits("PARTITION", "PARTITIONS"), edits("", "AB")
    (1, 1, 2)
    """
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one):
        before, above, row = row, before, [i + 1]
        for j, wanted in enumerate(other):
            cost = min(before[j + 1] + 1, row[j] + 1, before[j] + (letter != wanted))
            if i and j and letter == other[j - 1] and wanted == one[i - 1]:
                cost = min(cost, above[j - 1] + 1)
            row.append(cost)
    return row[-1]
