"""What can go wrong, by whose fault it is.

::

    SegopsError
    ├── UserError            the person who wrote the file, option or setting can mend it
    │   └── DefinitionError  a segment file, with every issue found in it
    ├── RejectedEvent        the data is at fault: it goes to the dead letters
    └── StateError           stored state cannot be read
        ├── StoreInUseError  not because it is damaged: another process has it open
        └── StoreWriteError  not because it is damaged: the disk is full, or does not take writes
"""

from __future__ import annotations

from dataclasses import dataclass


class SegopsError(Exception):
    """Base of every error that segops raises on purpose."""


class UserError(SegopsError):
    """A mistake in something a person wrote; the message names the place and the reason."""


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing wrong with a definition.

    >>> str(Issue("shop.yaml", "segments[0].when.within", "expected a string, got 5"))
    'shop.yaml: segments[0].when.within: expected a string, got 5'
    """

    source: str
    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.source}: {self.path}: {self.reason}"


class DefinitionError(UserError):
    """Segment definitions were refused; ``issues`` has every reason, none was saved."""

    def __init__(self, issues: list[Issue]) -> None:
        super().__init__("\n".join(map(str, issues)))
        self.issues = issues


class RejectedEvent(SegopsError):
    """An input record that is no event. ``reason`` is a metric label, ``detail`` is for people."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class StateError(SegopsError):
    """A stored value has a format that this version does not read."""


class UnstorableError(StateError):
    """A profile has values that cannot be stored, or that would not be read again."""


class StoreWriteError(StateError):
    """A store cannot be written: the disk is full, read-only or broken."""


class StoreInUseError(StateError):
    """A store is open elsewhere: in another process, or twice in this one."""
