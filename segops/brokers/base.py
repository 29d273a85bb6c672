"""The interface of local brokers: a running broker, and the kinds that start one."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from segops.core.errors import SegopsError, UserError

#: The Apache Kafka version that is started here: the newest whose brokers run on Java 17.
KAFKA_VERSION = "4.3.1"


class BrokerUnavailable(UserError):
    """The requested broker cannot run on this machine; the message says what is missing."""


class BrokerFailed(SegopsError):
    """A broker failed to start or died; the message includes the end of its log."""


class Node(Protocol):
    """One broker of a cluster, for fault-injection tests."""

    @property
    def address(self) -> str:
        """The address as host:port."""

    @property
    def alive(self) -> bool:
        """Whether the broker runs; a paused broker does."""

    def start(self) -> None:
        """Restart the broker on the same port and data, and wait until it serves requests."""

    def stop(self) -> None:
        """Shut the broker down; kill it if that takes too long."""

    def kill(self) -> None:
        """Kill the broker at once, as a power cut would."""

    def pause(self) -> None:
        """Suspend the broker: connections stay open, requests get no response."""

    def resume(self) -> None:
        """Undo ``pause``."""


@dataclass(frozen=True, slots=True)
class BrokerRequest:
    """The requested broker. For the user's own broker only ``bootstrap_servers`` applies.

    ``port`` is that of the first broker; ``None`` picks a free one.
    """

    data_dir: Path
    brokers: int = 1
    port: int | None = None
    bootstrap_servers: str | None = None


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A preferred kind of broker that was not used, and why."""

    kind: str
    reason: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.reason}"


class Kind(Protocol):
    """A kind of broker."""

    name: str

    def obstacle(self, request: BrokerRequest) -> str | None:
        """Return why this kind cannot serve the request on this machine, or None. Quick; never raises."""

    def start(self, request: BrokerRequest) -> LocalBroker:
        """Start a broker and return once it answers metadata requests.

        Raises BrokerFailed or BrokerUnavailable, leaving nothing running.
        """


@dataclass(eq=False)
class LocalBroker:
    """A running broker or cluster. It is stopped when the ``with`` block ends or the interpreter exits."""

    kind: str
    name: str
    bootstrap_servers: str
    nodes: Sequence[Node] = ()
    on_stop: list[Callable[[], None]] = field(default_factory=list)
    #: The preferred kinds that were not used, each with the reason.
    passed_over: tuple[PassedOver, ...] = ()

    def __post_init__(self) -> None:
        atexit.register(self.stop)

    def stop(self) -> None:
        """Stop every process of this broker; a second call does nothing."""
        while self.on_stop:
            self.on_stop[0]()
            # Removed only when done: exit finishes a stop that a second Ctrl-C has interrupted.
            self.on_stop.pop(0)
        atexit.unregister(self.stop)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
