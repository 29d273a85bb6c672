"""Outages of Kafka: which failures are one, how long to pause between two tries, what is told of it.

A worker waits an outage out. All that it held is given up, back to the last checkpoint, and it opens again
(``segops.streaming.lifecycle``). A wrong setting, damaged state or a bug is no outage: those end the process.
"""

from __future__ import annotations

import errno
import logging
import random
import socket
import time
from collections.abc import Callable
from typing import Final

from aiokafka import errors

from segops.core.errors import SegopsError
from segops.kafka.reachability import Unreachable, in_words

log = logging.getLogger(__name__)

_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 15.0
_FIRST_TELLING_S: Final = 5.0
_LONGEST_TELLING_S: Final = 600.0
_DEEPEST: Final = 8

_NETWORK: Final = frozenset(
    {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.ETIMEDOUT, errno.EPIPE}
)

#: Errors that the client does not retry by itself, and that another member or producer of ours need not meet.
_LOST: Final = (
    errors.BrokerNotAvailableError,
    errors.CommitFailedError,
    errors.ConcurrentTransactions,
    errors.IllegalGenerationError,
    errors.IllegalOperation,  # what comes after a refusal of something early, for which nothing waited
    errors.InvalidFetchSessionEpoch,
    errors.InvalidProducerEpoch,
    errors.InvalidProducerIdMapping,
    errors.InvalidTxnState,
    errors.KafkaTimeoutError,
    errors.KafkaUnavailableError,
    errors.OperationNotAttempted,
    errors.OutOfOrderSequenceNumber,
    errors.ProducerFenced,
    errors.RebalanceInProgressError,
    errors.ReplicaNotAvailableError,
    errors.TransactionCoordinatorFenced,
    errors.UnknownMemberIdError,
    errors.UnknownProducerId,
)


class OutOfTouch(SegopsError):
    """This worker was out of touch with its group: its partitions may be another's by now."""


def is_outage(error: BaseException) -> bool:
    """Whether opening again, once a broker answers, may be all that it takes.

    >>> is_outage(errors.ProducerFenced()), is_outage(errors.TopicAuthorizationFailedError())
    (True, False)
    """
    for _ in range(_DEEPEST):
        if type(error) is not errors.KafkaError:
            break
        if error.__cause__ is None:
            return True  # of the client's background tasks; a copy of its wrapper has lost the cause
        error = error.__cause__
    if isinstance(error, SegopsError):
        return isinstance(error, OutOfTouch | Unreachable)
    if isinstance(error, errors.KafkaError) and error.retriable:
        return True
    if isinstance(error, OSError) and error.errno in _NETWORK:
        return True
    return isinstance(error, (*_LOST, ConnectionError, TimeoutError, socket.gaierror)) or _is_closed(error)


def _is_closed(error: BaseException) -> bool:
    """Return whether uvloop refused a write to a connection that had just been closed.

    It raises a bare RuntimeError there, where asyncio raises none, and the client expects an OSError.
    """
    return type(error) is RuntimeError and str(error).endswith("the handler is closed")


class Pauses:
    """Pauses between tries: each about twice the one before, up to a bound, and shorter by up to half.

    Workers that lost their broker at one moment so do not all come back at one moment.

    >>> pauses = Pauses(lambda: 0.0)
    >>> [pauses.take() for _ in range(7)]
    [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]
    """

    def __init__(self, dice: Callable[[], float] = random.random) -> None:
        self._dice = dice
        self._next_s = _FIRST_PAUSE_S

    def take(self) -> float:
        """The next pause, in seconds."""
        pause_s = self._next_s * (1 - self._dice() / 2)
        self._next_s = min(2 * self._next_s, _LONGEST_PAUSE_S)
        return pause_s

    def reset(self) -> None:
        """Begin with short pauses again."""
        self._next_s = _FIRST_PAUSE_S


class Outage:
    """One outage after another: since when, why, and what the log says of it.

    ``reason`` is None while there is none. The log has a line at the start, at growing intervals, at the end.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.reason: str | None = None
        self._now = now
        self._began = self._tell_at = 0.0
        self._interval_s = _FIRST_TELLING_S

    @property
    def seconds(self) -> float:
        """How long it lasts; 0 while there is none."""
        return 0.0 if self.reason is None else self._now() - self._began

    def failed(self, error: BaseException) -> None:
        """Take note of another failure: the first begins an outage."""
        now, began = self._now(), self.reason is None
        self.reason = in_words(error)
        if began:
            self._began, self._interval_s = now, _FIRST_TELLING_S
            log.error("this worker waits for Kafka: %s", self.reason)
        elif now < self._tell_at:
            return
        else:
            log.error("still waiting for Kafka after %.0f s: %s", now - self._began, self.reason)
        self._tell_at = now + self._interval_s
        self._interval_s = min(2 * self._interval_s, _LONGEST_TELLING_S)

    def over(self) -> None:
        """A broker answers."""
        if self.reason is not None:
            log.warning("Kafka answers after %.0f s: this worker opens again", self.seconds)
            self.reason = None
