"""Webhooks: signed, refused in private networks, and what each answer means."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from segops.config import load
from segops.core.errors import DefinitionError, UserError
from segops.destinations import published
from segops.destinations.kinds import open_adapter
from segops.destinations.model import Destination
from segops.destinations.port import (
    Accepted,
    DestinationAway,
    DestinationRefuses,
    Message,
    Outcome,
    Person,
    Refused,
)
from segops.destinations.webhook.resolving import PrivateAddress, PublicResolver, check_public
from segops.metrics import Metrics

from .receiver import SECRET, Receiver, receiving

ALLOWED = {"activate": {"webhook_allow": frozenset({"127.0.0.1"})}}
PERSON = Person("user_id:u1", "u1", email="ann@shop.example")


def message(number: int = 1, action: Any = "entered", profile: str = "user_id:u1") -> Message:
    return Message(action, "winback", profile, Person(profile), f"c{number}", number, "event", 5)


def written(url: str, **changed: Any) -> dict[str, Any]:
    return {"name": "crm", "kind": "webhook", "url": url, "secrets": [{"env": "HOOK_SECRET"}], **changed}


def sent(url: str, *messages: Message, **changed: Any) -> list[Outcome]:
    return asyncio.run(_send(written(url, **changed), messages))


async def _send(form: Mapping[str, Any], messages: tuple[Message, ...]) -> list[Outcome]:
    adapter = open_adapter(Destination("crm", "webhook", form), load(**ALLOWED), Metrics(CollectorRegistry()))
    try:
        return [*await adapter.send(messages, {"list": "L1"})]
    finally:
        await adapter.close()


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    with receiving() as found:
        yield found


def test_a_message_is_signed_and_says_all(receiver: Receiver) -> None:
    assert sent(receiver.url, message()) == [Accepted()]
    assert receiver.ids == ["c1"]
    (found,) = receiver.messages
    assert (found["type"], found["timestamp"]) == ("segops.audience.entered", "1970-01-01T00:00:00.005Z")
    assert found["data"] == {
        "audience": "winback",
        "profile_id": "user_id:u1",
        "user_id": None,
        "anonymous_id": None,
        "email": None,
        "since": None,
        "until": None,
        "reason": "event",
        "quiet": False,
        "sequence": 1,
        "properties": {},
        "options": {"list": "L1"},
    }


def test_a_rotation_signs_with_both_secrets(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEW_SECRET", "whsec_" + "A" * 32)
    both = [{"env": "NEW_SECRET"}, {"env": "HOOK_SECRET"}]
    assert sent(receiver.url, message(), secrets=both) == [Accepted()]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("500", DestinationAway),
        ("429", DestinationAway),
        ("408", DestinationAway),
        ("reset", DestinationAway),
        ("lost", DestinationAway),
        ("403", DestinationRefuses),
        ("302", DestinationRefuses),
        ("410", DestinationRefuses),
    ],
)
def test_failures_of_the_destination(receiver: Receiver, answer: str, expected: type[Exception]) -> None:
    receiver.behave = lambda _message: answer
    with pytest.raises(expected) as failed:
        sent(receiver.url, message())
    assert SECRET not in str(failed.value)


def test_a_wrong_secret_is_the_operators_to_mend(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", "whsec_" + "A" * 32)
    with pytest.raises(DestinationRefuses, match="status 401"):
        sent(receiver.url, message())


def test_another_status_refuses_the_message(receiver: Receiver) -> None:
    receiver.behave = lambda _message: "422"
    (found,) = sent(receiver.url, message())
    assert isinstance(found, Refused)
    assert found.reason == 'status 422 {"error": "422"}'


@given(
    plan=st.lists(
        st.tuples(st.sampled_from(["entered", "exited"]), st.sampled_from(["user_id:a", "user_id:b"])),
        max_size=6,
    ),
    faults=st.lists(st.sampled_from(["500", "reset", "lost"]), max_size=6),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_repeated_until_it_is_accepted_is_known(
    receiver: Receiver, plan: list[tuple[str, str]], faults: list[str]
) -> None:
    receiver.messages.clear()
    left = list(faults)
    receiver.behave = lambda _message: left.pop() if left else "ok"
    for number, (action, profile) in enumerate(plan):
        while True:
            try:
                assert sent(receiver.url, message(number, action, profile)) == [Accepted()]
                break
            except DestinationAway:
                continue
    expected = {profile: action == "entered" for action, profile in plan}
    assert receiver.members("winback") == {profile for profile, member in expected.items() if member}


PRIVATE = ["127.0.0.1", "10.1.2.3", "169.254.169.254", "224.0.0.1", "[::1]", "[::ffff:10.0.0.1]", "[ff02::1]"]
#: The same networks behind NAT64, an operator's own NAT64, 6to4, and as IPv4-compatible addresses.
TRANSLATED = ["[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::1]", "[2002:7f00:1::]", "[::10.0.0.1]"]


@pytest.mark.parametrize("host", PRIVATE + TRANSLATED)
def test_private_addresses_are_refused(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    destination = Destination("crm", "webhook", written(f"https://{host}/hook"))
    with pytest.raises(UserError, match=r"crm: .* is in a private network .*SEGOPS_WEBHOOK_ALLOW"):
        open_adapter(destination, load(), Metrics(CollectorRegistry()))


def test_names_of_private_addresses_are_refused_unless_they_are_allowed() -> None:
    async def resolved(allowed: set[str]) -> int:
        resolver = PublicResolver(allowed)
        try:
            return len(await resolver.resolve("localhost", 80))
        finally:
            await resolver.close()

    with pytest.raises(PrivateAddress, match="localhost is in a private network"):
        asyncio.run(resolved(set()))
    assert asyncio.run(resolved({"localhost"}))


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "2606:4700::1", "64:ff9b::5db8:d822", "2002:5db8:d822::1"]
)
def test_public_addresses_are_connected_to(address: str) -> None:
    check_public("hooks.shop.example", address)


def test_a_name_of_a_private_address_is_the_operators_to_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)

    async def send() -> None:
        destination = Destination("crm", "webhook", written("https://localhost/hook"))
        adapter = open_adapter(destination, load(), Metrics(CollectorRegistry()))
        try:
            await adapter.send([message()], {})
        finally:
            await adapter.close()

    with pytest.raises(DestinationRefuses, match=r"localhost is in a private network .*SEGOPS_WEBHOOK_ALLOW"):
        asyncio.run(send())


def test_messages_are_encrypted_on_their_way_to_public_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    destination = Destination("crm", "webhook", written("http://crm.example/hook"))
    with pytest.raises(UserError, match=r"crm: expected an https url, got 'http://crm.example/hook'"):
        open_adapter(destination, load(), Metrics(CollectorRegistry()))


def test_a_check_tells_nothing_of_anyone(receiver: Receiver) -> None:
    async def checked() -> list[Any]:
        destination = Destination("crm", "webhook", written(receiver.url))
        adapter = open_adapter(destination, load(**ALLOWED), Metrics(CollectorRegistry()))
        try:
            return [*await adapter.check({})]
        finally:
            await adapter.close()

    assert [each.ok for each in asyncio.run(checked())] == [True]
    assert receiver.messages[0]["data"] == {}
    receiver.behave = lambda _message: "500"
    assert [each.ok for each in asyncio.run(checked())] == [False]


def test_a_missing_secret_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HOOK_SECRET", raising=False)
    missing = str(tmp_path / "none")
    for place, reason in (({"env": "HOOK_SECRET"}, "HOOK_SECRET is not set"), ({"file": missing}, "none")):
        destination = Destination("crm", "webhook", written("https://crm.example/", secrets=[place]))
        with pytest.raises(UserError, match=reason):
            open_adapter(destination, load(), Metrics(CollectorRegistry()))


FILE = """
version: 1
destinations:
  - {name: crm, kind: webhook, url: "https://crm.example/hook", secrets: [{file: /run/secrets/hook}]}
"""


@pytest.mark.parametrize(
    ("former", "latter", "mistake"),
    [
        ("kind: webhook", "kind: pigeon", "destinations[0].kind: expected one of"),
        ("name: crm", "name: CRM", "destinations[0].name: expected at most 64 lower-case letters"),
        ("https://crm", "https://a:b@crm", "destinations[0].url"),
        ("[{file: /run/secrets/hook}]", "[{}]", "expected {env: NAME} or {file: PATH}"),
        ("[{file: /run/secrets/hook}]", "[]", "destinations[0].secrets"),
        ("name: crm, ", "", "destinations[0].name"),
        ("version: 1", "version: 2", "version"),
        ("kind: webhook", "kind: webhook, colour: red", "destinations[0].colour"),
    ],
)
def test_mistakes_are_named_with_their_places(tmp_path: Path, former: str, latter: str, mistake: str) -> None:
    path = tmp_path / "destinations.yaml"
    path.write_text(FILE.replace(former, latter))
    with pytest.raises(DefinitionError) as refused:
        published.load(path)
    assert mistake in str(refused.value)


def test_what_is_published_reads_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "destinations.yaml"
    path.write_text(FILE)
    (found,) = published.load(path)
    assert published.decode(published.encode(found)) == found
    path.write_text(FILE + FILE.splitlines()[-1] + "\n")
    with pytest.raises(DefinitionError, match=r"destinations\[1\].name: 'crm' is there already"):
        published.load(path)
