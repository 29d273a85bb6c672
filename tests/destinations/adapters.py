"""Adapters that talk to stand-ins: as they are written, opened and told in tests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

import pytest
from prometheus_client import CollectorRegistry

from segops.config import load
from segops.destinations.kinds import open_adapter
from segops.destinations.model import Destination
from segops.destinations.port import Accepted, Adapter, DestinationAway, Later, Message, Outcome, Person
from segops.metrics import Metrics

_VARIABLE = "STAND_IN_SECRET"
#: A form's reference to the secret.
SECRET = {"env": _VARIABLE}

T = TypeVar("T")
Written = Mapping[str, Any]


class StandIn(Protocol):
    """A local server that enforces a service's contract."""

    def serving(self) -> AbstractAsyncContextManager[str]:
        """Serve on loopback; yield the address."""
        ...


def message(number: int, name: str, action: Any = "entered", **changed: Any) -> Message:
    """Return a message whose change is ``cN``, of 5.999 s."""
    address = changed.pop("address", f"{name}@shop.example")
    person = Person(f"user_id:{name}", name, email=address)
    return Message(action, "winback", address, person, f"c{number}", number, "time", 5_999, 5, 9, **changed)


def opened(written: Written, secret: str) -> Adapter:
    """Open what is written of a destination."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(_VARIABLE, secret)
        destination = Destination("d", written["kind"], {"name": "d", **written})
        return open_adapter(destination, load(), Metrics(CollectorRegistry()))


def run(stand_in: StandIn, written: Written, secret: str, work: Callable[[Adapter], Awaitable[T]]) -> T:
    """Return what comes of work with an adapter that talks to a stand-in."""

    async def served() -> T:
        async with stand_in.serving() as url:
            adapter = opened({**written, "url": url}, secret)
            try:
                return await work(adapter)
            finally:
                await adapter.close()

    return asyncio.run(served())


async def tell(adapter: Adapter, messages: Sequence[Message], options: Any) -> None:
    """Tell of messages again until all are accepted, as the delivery does."""
    while messages:
        try:
            outcomes: Sequence[Outcome] = await adapter.send(messages, options)
        except DestinationAway:
            continue
        assert {type(each) for each in outcomes} <= {Accepted, Later}
        messages = [
            each
            for each, outcome in zip(messages, outcomes, strict=True)
            if not isinstance(outcome, Accepted)
        ]
