"""Errors, grouped by whose fault they are.

::

    SegopsError
    ├── UserError            the author of the file, option or setting can fix it
    │   └── DefinitionError  a segment file, with every issue found in it
    ├── RejectedEvent        the data is at fault: the record goes to the dead-letter topic
    └── StateError           stored state cannot be read or written
        ├── UnstorableError  a profile has values that cannot be stored
        ├── StoreInUseError  the store is not damaged: another process has it open
        └── StoreWriteError  the store is not damaged: the disk is full, read-only or broken
"""

from __future__ import annotations

from dataclasses import dataclass


class SegopsError(Exception):
    """Base of every error that segops raises on purpose."""


class UserError(SegopsError):
    """A mistake in user input; the message names the location and the reason."""


@dataclass(frozen=True, slots=True)
class Issue:
    """One problem in a definition.

    >>> str(Issue("shop.yaml", "segments[0].when.within", "expected a string, got 5"))
    'shop.yaml: segments[0].when.within: expected a string, got 5'
    """

    source: str
    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.source}: {self.path}: {self.reason}"


class DefinitionError(UserError):
    """Invalid segment definitions; ``issues`` lists every problem. None of the definitions was saved."""

    def __init__(self, issues: list[Issue]) -> None:
        super().__init__("\n".join(map(str, issues)))
        self.issues = issues


class RejectedEvent(SegopsError):
    """An invalid input record. ``reason`` is a metric label, ``detail`` is for people."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class StateError(SegopsError):
    """A stored value has a format that this version cannot read."""


class UnstorableError(StateError):
    """A profile has values that cannot be stored, or not be read back."""


class StoreWriteError(StateError):
    """A store cannot be written: the disk is full, read-only or broken."""


class StoreInUseError(StateError):
    """A store is already open in another process, or in this one."""
