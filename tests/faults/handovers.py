"""Hand-overs of a reference that evaluates by other definitions than those that were in force.

The hand-overs in the logs carry the features of the definitions that were in force when they were sent. A
reference that evaluates by other definitions from the start sends its own instead, so its partitions are
replayed together (``facts.accounts_of``): one that comes to a hand-over waits until the source has sent it.
"""

from __future__ import annotations

from collections.abc import Iterable

from segops.core.messages import Handover, Message
from segops.schemas.messages import decode_message, encode_message


class Handovers:
    """The hand-overs that the profiles of all partitions have sent. ``all_sent``: wait for no other one."""

    def __init__(self) -> None:
        self._sent: dict[bytes, bytes] = {}
        self.all_sent = False

    def send(self, messages: Iterable[Message]) -> None:
        """Note the hand-overs among these messages; of those that repeat one, the first counts."""
        for message in messages:
            if isinstance(message, Handover):
                encoded = encode_message(message)
                self._sent.setdefault(without_state(encoded), encoded)

    def has_waiters(self, message: Message) -> bool:
        """Return whether a message of the log is a hand-over that its source has not sent yet."""
        return isinstance(message, Handover) and not self.all_sent and self._key(message) not in self._sent

    def in_place_of(self, message: Message) -> Message:
        """Return the hand-over that was sent for one of the log; any other message as it is."""
        sent = self._sent.get(self._key(message)) if isinstance(message, Handover) else None
        return message if sent is None else decode_message(sent)

    @staticmethod
    def _key(message: Message) -> bytes:
        return without_state(encode_message(message))


def without_state(data: bytes) -> bytes:
    """Return a message without what depends on the definitions that its sender evaluated by."""
    message = decode_message(data)
    if isinstance(message, Handover):
        message.state, message.sequence = None, 0
    return encode_message(message)
