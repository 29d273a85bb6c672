"""The port of destinations: what each adapter is given, and what it answers.

An adapter turns messages into requests of its service. It keeps no state of its own: which person was told
what is known to the delivery, which calls it, repeats messages after a crash, and retries later what the
service could not take. A message that is repeated has the same ``change_id`` and must do no harm.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from segops.core.delivery.messages import Action, Message, Person
from segops.core.errors import SegopsError

__all__ = [
    "Accepted",
    "Action",
    "Adapter",
    "Batch",
    "DestinationAway",
    "DestinationRefuses",
    "Finding",
    "Later",
    "Message",
    "Outcome",
    "Person",
    "Refused",
    "Request",
]


class Accepted(msgspec.Struct, frozen=True):
    """The destination has taken the message for good."""

    request_id: str = ""


class Refused(msgspec.Struct, frozen=True):
    """The destination will never take this message: it is dead until a person retries it."""

    reason: str
    request_id: str = ""


class Later(msgspec.Struct, frozen=True):
    """The destination could not take this one message now, and may take it later."""

    reason: str
    retry_after_s: float = 0.0


Outcome = Accepted | Refused | Later


class DestinationAway(SegopsError):
    """The destination takes nothing at present; ``retry_after_s``: not before, 0 if it did not say."""

    def __init__(self, reason: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class DestinationRefuses(SegopsError):
    """The destination takes nothing before a person has acted: wrong credentials, or a list that is gone.

    ``status``: that of the answer that says so, or 0.
    """

    def __init__(self, reason: str, *, status: int = 0) -> None:
        super().__init__(reason)
        self.status = status


class Batch(NamedTuple):
    """The most that one call of ``send`` may hold: messages, and bytes of their JSON."""

    messages: int
    bytes: int


class Finding(NamedTuple):
    """A result of ``check``: ``ok``, and in words what was looked at and found.

    ``ok_for_existing``: also if those who are members at the activation are sent.
    """

    ok: bool
    text: str
    ok_for_existing: bool = True

    def is_ok(self, existing: str) -> bool:
        """Return whether it is, for an audience with this value of ``existing``."""
        return self.ok and (self.ok_for_existing or existing != "send")


class Request(NamedTuple):
    """A request as it would be sent, without its secrets, for people to read."""

    method: str
    url: str
    body: Any


class Adapter(Protocol):
    """A destination. ``options`` are those of the ``deliver`` entry of an audience.

    Methods may be called at the same time for different audiences, never for the same address.
    """

    batch: Batch

    def address_of(self, person: Person) -> str | None:
        """Return how the destination knows a person, normalised; None if it cannot be told about them."""
        ...

    async def send(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Sequence[Outcome]:
        """Tell the destination, and return one outcome per message, in order.

        Messages are of one audience, each of another address. Raises DestinationAway or DestinationRefuses
        if none was taken or it is unknown which were: all are sent again then.
        """
        ...

    def preview(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Sequence[Request]:
        """Return the requests that ``send`` would make first."""
        ...

    async def check(self, options: Mapping[str, Any]) -> Sequence[Finding]:
        """Verify the credentials, and lists or audiences in ``options``, by harmless requests."""
        ...

    def members(self, options: Mapping[str, Any]) -> AsyncIterator[str] | None:
        """Return the addresses that the destination holds; None if it has no list that can be read."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...
