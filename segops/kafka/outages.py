"""Kafka outages: which errors count as one, how long to pause between attempts, and what to log.

A worker waits an outage out: it discards all work since the last checkpoint, then reconnects
(``segops.streaming.lifecycle``). A wrong setting, damaged state or a bug ends the process.
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
_FIRST_LOG_INTERVAL_S: Final = 5.0
_LONGEST_LOG_INTERVAL_S: Final = 600.0
_MAX_CAUSE_DEPTH: Final = 8

_NETWORK: Final = frozenset(
    {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.ETIMEDOUT, errno.EPIPE}
)

#: Errors that the client does not retry, but that a new group member or producer need not encounter.
_RECOVERABLE: Final = (
    errors.BrokerNotAvailableError,
    errors.CommitFailedError,
    errors.ConcurrentTransactions,
    errors.IllegalGenerationError,
    errors.IllegalOperation,  # a follow-up of an earlier rejected request that nothing awaited
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
    """A worker has lost contact with its group: other workers may own its partitions."""


def is_outage(error: BaseException) -> bool:
    """Return whether reconnecting, once a broker answers, may resolve the error.

    >>> is_outage(errors.ProducerFenced()), is_outage(errors.TopicAuthorizationFailedError())
    (True, False)
    """
    for _ in range(_MAX_CAUSE_DEPTH):
        if type(error) is not errors.KafkaError:
            break
        if error.__cause__ is None:
            return True  # from the client's background tasks; copying the wrapper loses the cause
        error = error.__cause__
    if isinstance(error, SegopsError):
        return isinstance(error, OutOfTouch | Unreachable)
    if isinstance(error, errors.KafkaError) and error.retriable:
        return True
    if isinstance(error, OSError) and error.errno in _NETWORK:
        return True
    lost = isinstance(error, (*_RECOVERABLE, ConnectionError, TimeoutError, socket.gaierror))
    return lost or _is_closed(error)


def _is_closed(error: BaseException) -> bool:
    """Return whether uvloop refused a write to a connection that had just been closed.

    It raises a bare RuntimeError there, where asyncio raises none, and the client expects an OSError.
    """
    return type(error) is RuntimeError and str(error).endswith("the handler is closed")


class Pauses:
    """Exponential backoff with jitter: each pause doubles up to a limit, then is shortened by up to half.

    The jitter keeps workers that lost their broker together from reconnecting together.

    >>> pauses = Pauses(lambda: 0.0)
    >>> [pauses.take() for _ in range(7)]
    [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]
    """

    def __init__(self, dice: Callable[[], float] = random.random) -> None:
        self._dice = dice
        self._next_s = _FIRST_PAUSE_S

    def take(self) -> float:
        """Return the next pause in seconds, and double the one after."""
        pause_s = self._next_s * (1 - self._dice() / 2)
        self._next_s = min(2 * self._next_s, _LONGEST_PAUSE_S)
        return pause_s

    def reset(self) -> None:
        """Return to the shortest pause."""
        self._next_s = _FIRST_PAUSE_S


class Outage:
    """The current outage: since when, and why. ``reason`` is None while there is none.

    Logs at the start of an outage, at growing intervals, and at its end.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.reason: str | None = None
        self._now = now
        self._began = self._log_at = 0.0
        self._interval_s = _FIRST_LOG_INTERVAL_S

    @property
    def seconds(self) -> float:
        """The duration so far; 0 while there is no outage."""
        return 0.0 if self.reason is None else self._now() - self._began

    def failed(self, error: BaseException) -> None:
        """Record a failure; the first one begins an outage."""
        now, began = self._now(), self.reason is None
        self.reason = in_words(error)
        if began:
            self._began, self._interval_s = now, _FIRST_LOG_INTERVAL_S
            log.error("waiting for Kafka: %s", self.reason)
        elif now < self._log_at:
            return
        else:
            log.error("still waiting for Kafka after %.0f s: %s", now - self._began, self.reason)
        self._log_at = now + self._interval_s
        self._interval_s = min(2 * self._interval_s, _LONGEST_LOG_INTERVAL_S)

    def over(self) -> None:
        """End the outage: a broker answers."""
        if self.reason is not None:
            log.warning("Kafka answers again after %.0f s; reconnecting", self.seconds)
            self.reason = None
