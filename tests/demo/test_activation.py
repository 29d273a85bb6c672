"""The destinations of the demo: as strict as those that they stand for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from segops.brokers.network import reserve_ports
from segops.config import load
from segops.demo import klaviyo, receiver
from segops.demo.environment import SECRETS
from segops.demo.klaviyo import LIST, KlaviyoAccount
from segops.demo.receiver import Receiver
from segops.destinations.kinds import open_adapter
from segops.destinations.model import Destination
from segops.destinations.port import Accepted, Adapter, DestinationRefuses, Message, Person
from segops.metrics import Metrics


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


def message(number: int, user: str, action: Any = "entered") -> Message:
    email = f"{user}@shop.example"
    person = Person(f"user_id:{user}", user, email=email)
    return Message(action, "vip-offer", email, person, f"{number:064x}", number, "event", 5, 5)


def using_klaviyo(work: Callable[[Adapter, KlaviyoAccount], Awaitable[None]]) -> KlaviyoAccount:
    async def main(port: int) -> KlaviyoAccount:
        async with klaviyo.serving(port) as account:
            written = {"name": "k", "kind": "klaviyo", "url": f"http://127.0.0.1:{port}"}
            written |= {"key": {"env": "KLAVIYO_PRIVATE_KEY"}}  # type: ignore[dict-item]
            adapter = open_adapter(Destination("k", "klaviyo", written), load(), Metrics(CollectorRegistry()))
            try:
                await work(adapter, account)
            finally:
                await adapter.close()
            return account

    with reserve_ports(1) as ports:
        return asyncio.run(main(ports[0]))


def test_klaviyo_lists_who_enters_until_they_leave() -> None:
    async def work(adapter: Adapter, account: KlaviyoAccount) -> None:
        entries = [message(1, "ann"), message(2, "ben")]
        assert await adapter.send(entries, {"list": LIST}) == [Accepted(), Accepted()]
        assert account.members == {"ann@shop.example", "ben@shop.example"}
        assert await adapter.send([message(3, "ann", "exited")], {"list": LIST}) == [Accepted()]

    account = using_klaviyo(work)
    assert account.members == {"ben@shop.example"}
    assert account.refused == []


def test_klaviyo_has_one_list() -> None:
    async def work(adapter: Adapter, account: KlaviyoAccount) -> None:
        with pytest.raises(DestinationRefuses, match="OTHER1"):
            await adapter.send([message(1, "ann")], {"list": "OTHER1"})

    assert "unknown list OTHER1" in using_klaviyo(work).refused[0]


IMPORT = "/api/profile-bulk-import-jobs"
HEADERS = {
    "authorization": f"Klaviyo-API-Key {klaviyo.KEY}",
    "revision": "2026-07-15",
    "content-type": "application/vnd.api+json",
}


@pytest.mark.parametrize(
    ("headers", "path", "body", "status"),
    [
        ({**HEADERS, "authorization": "Klaviyo-API-Key pk_other"}, IMPORT, {}, 400),
        ({**HEADERS, "revision": "2020-01-01"}, IMPORT, {}, 400),
        ({**HEADERS, "content-type": "application/json"}, IMPORT, {}, 400),
        (HEADERS, IMPORT, {"data": {"type": "profile-bulk-import-job", "unknown": 1}}, 400),
        (HEADERS, "/api/unknown", {}, 404),
    ],
)
def test_klaviyo_refuses_what_breaks_its_rules(
    headers: dict[str, str], path: str, body: dict[str, Any], status: int
) -> None:
    async def main(port: int) -> tuple[int, list[str]]:
        url = f"http://127.0.0.1:{port}{path}"
        async with klaviyo.serving(port) as account, aiohttp.ClientSession() as session:
            answer = await session.post(url, data=json.dumps(body), headers=headers)
            return answer.status, account.refused

    with reserve_ports(1) as ports:
        found, refused = asyncio.run(main(ports[0]))
    assert (found, len(refused)) == (status, 1)


def test_requests_over_a_rate_are_refused() -> None:
    async def main(port: int) -> list[int]:
        url = f"http://127.0.0.1:{port}{IMPORT}"
        async with klaviyo.serving(port), aiohttp.ClientSession() as session:
            return [(await session.get(url, headers=HEADERS)).status for _ in range(11)]

    with reserve_ports(1) as ports:
        assert asyncio.run(main(ports[0])) == [200] * 10 + [429]


def test_the_webhook_takes_each_signed_message_once() -> None:
    async def main(port: int) -> Receiver:
        written = {"name": "h", "kind": "webhook", "url": f"http://127.0.0.1:{port}/hook"}
        written |= {"secrets": [{"env": "SHOP_SECRET"}]}  # type: ignore[dict-item]
        ann, ben = message(1, "ann"), message(2, "ben")
        async with receiver.receiving(port) as hook:
            adapter = open_adapter(Destination("h", "webhook", written), load(), Metrics(CollectorRegistry()))
            for each in (ann, ben, ann, message(3, "ben", "exited")):
                assert await adapter.send([each], {}) == [Accepted()]
            await adapter.close()
            async with aiohttp.ClientSession() as session:
                unsigned = {"webhook-id": "m", "webhook-timestamp": "5", "webhook-signature": "v1,AAAA"}
                async with session.post(f"http://127.0.0.1:{port}/hook", headers=unsigned) as answer:
                    assert answer.status == 401
        return hook

    with reserve_ports(1) as ports:
        hook = asyncio.run(main(ports[0]))
    assert hook.members == {"ann@shop.example"}
    assert (hook.entries, hook.exits, hook.repeated, hook.refused) == (2, 1, 1, 1)
