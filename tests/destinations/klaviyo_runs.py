"""Messages to the stand-in of Klaviyo, sent by its adapter in virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry

from segops.destinations.http import HttpClient
from segops.destinations.klaviyo.adapter import Klaviyo
from segops.destinations.klaviyo.api import KlaviyoApi
from segops.destinations.port import Message, Outcome, Person
from segops.metrics import Metrics
from tests.klaviyo import virtual_time

from .klaviyo_server import KEY, KlaviyoLists

LIST, METRIC = {"list": "L1"}, {"metric": "Entered win-back"}
BOTH = LIST | METRIC
_T = TypeVar("_T")


def message(number: int, name: str, action: Any = "entered", **changed: Any) -> Message:
    address = changed.pop("address", f"{name}@shop.example")
    person = Person(f"user_id:{name}", name, email=address)
    return Message(action, "winback", address, person, f"c{number}", number, "time", 5, 5, 9, **changed)


def run(
    account: KlaviyoLists, work: Callable[[Klaviyo], Awaitable[_T]], *, key: str = KEY, few: int = 0
) -> _T:
    """Run ``work`` with an adapter; ``few``: the most profiles that it sends one by one."""

    async def served() -> _T:
        async with account.serving() as url:
            client = HttpClient("k", Metrics(CollectorRegistry()), timeout_s=5)
            adapter = Klaviyo(KlaviyoApi(client, url, key), url, few=few)
            try:
                return await work(adapter)
            finally:
                await adapter.close()

    return virtual_time.run(served())


def sent(
    account: KlaviyoLists, messages: Sequence[Message], options: Any = LIST, **more: Any
) -> list[Outcome]:
    async def send(adapter: Klaviyo) -> list[Outcome]:
        return [*await adapter.send(messages, options)]

    return run(account, send, **more)
