"""The port: what a broker is to the rest of segops, and what a kind of broker has to offer."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from segops.core.errors import SegopsError, UserError

#: The Apache Kafka that is run here: the newest whose brokers still start on Java 17.
KAFKA_VERSION = "4.3.1"


class BrokerUnavailable(UserError):
    """This machine cannot run the broker asked for; the message says what is missing."""


class BrokerFailed(SegopsError):
    """A broker did not start, or died; the message carries the end of its log."""


class Node(Protocol):
    """One broker of a cluster, for tests that break things."""

    @property
    def address(self) -> str:
        """host:port."""

    @property
    def alive(self) -> bool:
        """Whether it runs; a paused one does."""

    def start(self) -> None:
        """Start it again on the same port and data, and wait until it serves."""

    def stop(self) -> None:
        """End it cleanly, by force when it does not end in time."""

    def kill(self) -> None:
        """End it at once, as a power cut would."""

    def pause(self) -> None:
        """Freeze it: connections stay open, nothing answers."""

    def resume(self) -> None:
        """Undo ``pause``."""


@dataclass(frozen=True, slots=True)
class BrokerRequest:
    """What is wanted. Only ``bootstrap_servers`` concerns a user's own broker.

    ``port`` is the first broker's; ``None`` finds a free one.
    """

    data_dir: Path
    brokers: int = 1
    port: int | None = None
    bootstrap_servers: str | None = None


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A kind which came earlier in the order and was not used."""

    kind: str
    reason: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.reason}"


class Kind(Protocol):
    """A way to get a broker."""

    name: str

    def obstacle(self, request: BrokerRequest) -> str | None:
        """Why this kind cannot serve the request here, or ``None``. Quick; never raises."""

    def start(self, request: BrokerRequest) -> LocalBroker:
        """A broker which answers metadata requests. On BrokerFailed or BrokerUnavailable nothing is left."""


@dataclass(eq=False)
class LocalBroker:
    """A running broker or cluster. Leaving the ``with`` block, or the interpreter, stops what was started."""

    kind: str
    name: str
    bootstrap_servers: str
    nodes: Sequence[Node] = ()
    on_stop: list[Callable[[], None]] = field(default_factory=list)
    #: The kinds tried before this one, each with its reason.
    passed_over: tuple[PassedOver, ...] = ()

    def __post_init__(self) -> None:
        atexit.register(self.stop)

    def stop(self) -> None:
        """Stop every process that was started for it; a second call does nothing."""
        while self.on_stop:
            self.on_stop[0]()
            # Taken off only once done: a stop broken off by a second Ctrl-C is finished at exit.
            self.on_stop.pop(0)
        atexit.unregister(self.stop)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
