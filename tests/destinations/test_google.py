"""Google as a destination: its lists equal the members after any faults, and hold hashes alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from hypothesis import given
from hypothesis import strategies as st

from segops.destinations.port import (
    Accepted,
    Adapter,
    DestinationAway,
    DestinationRefuses,
    Message,
    Outcome,
    Person,
    Refused,
)
from tests.rest import examples

from .adapters import message, opened, tell
from .google_runs import LIST, WRITTEN, hashed, of, run
from .google_server import FAULTS, GoogleStandIn, key_file
from .rate_scale import short_seconds

__all__ = ["short_seconds"]


def sent(
    server: GoogleStandIn, messages: Sequence[Message], options: Any = LIST, **more: Any
) -> list[Outcome]:
    async def send(adapter: Adapter) -> list[Outcome]:
        return [*await adapter.send(messages, options)]

    return run(server, send, **more)


def test_members_are_ingested_by_hash_and_removed() -> None:
    server = GoogleStandIn("55", "56")
    told = [message(1, "ann"), message(2, "ben", quiet=True), message(3, "cid", "updated")]
    assert sent(server, told) == [Accepted("r1"), Accepted("r1"), Accepted()]
    assert server.lists == {"55": of("ann", "ben"), "56": set()}
    leaving = [message(4, "ann", "exited"), message(5, "dan"), message(6, "stranger", "exited")]
    assert sent(server, leaving) == [Accepted("r3"), Accepted("r2"), Accepted("r3")]
    assert server.lists["55"] == of("ben", "dan")
    assert server.refused == []


def test_nothing_is_sent_for_updates_alone() -> None:
    server = GoogleStandIn("55")
    assert sent(server, [message(1, "ann", "updated")]) == [Accepted()]
    assert server.calls == []


def test_a_request_says_what_google_asks_for() -> None:
    server = GoogleStandIn("55")
    more = {"login_account": "9", "ad_user_data": "granted", "ad_personalization": "denied"}
    sent(server, [message(1, "ann"), message(2, "ben", "exited")], **more)
    accounts = {
        "operatingAccount": {"accountType": "GOOGLE_ADS", "accountId": "123"},
        "loginAccount": {"accountType": "GOOGLE_ADS", "accountId": "9"},
    }
    removed = {
        "destinations": [{**accounts, "productDestinationId": "55"}],
        "audienceMembers": [
            {"userData": {"userIdentifiers": [{"emailAddress": hashed("ben@shop.example")}]}}
        ],
        "encoding": "HEX",
    }
    assert server.bodies[1] == removed
    consent = {"adUserData": "CONSENT_GRANTED", "adPersonalization": "CONSENT_DENIED"}
    terms = {"customerMatchTermsOfServiceStatus": "ACCEPTED"}
    members = [{"userData": {"userIdentifiers": [{"emailAddress": hashed("ann@shop.example")}]}}]
    expected = removed | {"audienceMembers": members, "consent": consent, "termsOfService": terms}
    assert server.bodies[0] == expected
    sent(server, [message(3, "ann")])
    assert "consent" not in server.bodies[2] and "loginAccount" not in server.bodies[2]["destinations"][0]


def test_people_known_by_phone() -> None:
    server = GoogleStandIn("55")
    by = {"identify_by": "phone", "phone": "contact.mobile"}
    adapter = opened(WRITTEN | by, key_file("https://oauth2.googleapis.com"))
    person = Person("p", traits={"contact": {"mobile": "+49 (0)170 1234567"}})
    assert adapter.address_of(person) == "+491701234567"
    assert adapter.address_of(Person("p", email="ann@shop.example")) is None
    sent(server, [message(1, "x", address="+491701234567")], **by)
    assert server.bodies[0]["audienceMembers"] == [
        {"userData": {"userIdentifiers": [{"phoneNumber": hashed("+491701234567")}]}}
    ]


@pytest.mark.parametrize("one", [False, True])
def test_records_that_are_refused_do_not_hold_up_the_others(one: bool) -> None:
    server = GoogleStandIn("55")
    server.broken, server.one_violation = of("ben", "dan"), one
    told = [message(n, name) for n, name in enumerate(("ann", "ben", "cid", "dan", "eve"))]
    found = sent(server, told)
    assert [type(each) for each in found] == [Accepted, Refused, Accepted, Refused, Accepted]
    assert found[1] == Refused("INVALID_AUDIENCE_MEMBER")
    assert server.lists["55"] == of("ann", "cid", "eve")
    assert sent(server, [message(9, "ben")]) == [Refused("INVALID_AUDIENCE_MEMBER")]


def test_records_that_are_refused_without_end_stop_the_delivery() -> None:
    server = GoogleStandIn("55")
    names = [f"u{n}" for n in range(20)]
    server.broken, server.one_violation = of(*names[:15]), True
    with pytest.raises(DestinationRefuses, match="records were refused in 10 requests"):
        sent(server, [message(n, name) for n, name in enumerate(names)])
    assert len(server.bodies) == 10


@pytest.mark.parametrize("action", ["entered", "exited"])
@pytest.mark.parametrize(
    "refuses",
    [
        (400, "INVALID_ARGUMENT", ("audience_members[0]", "INVALID_USER_LIST_TYPE")),
        (400, "INVALID_ARGUMENT", ("audience_members[9]", "INVALID_AUDIENCE_MEMBER")),
        (400, "INVALID_ARGUMENT", ("destinations[0]", "TERMS_AND_CONDITIONS_NOT_SIGNED")),
        (403, "PERMISSION_DENIED", ("destinations[0]", "PERMISSION_DENIED")),
        (404, "NOT_FOUND", ("destinations[0]", "NOT_FOUND")),
    ],
)
def test_what_concerns_all_stops_the_delivery(refuses: Any, action: Any) -> None:
    server = GoogleStandIn("55")
    server.refuses = refuses
    with pytest.raises(DestinationRefuses, match=refuses[2][1]):
        sent(server, [message(1, "ann", action), message(2, "ben", action)])
    assert len(server.bodies) == 1


@pytest.mark.parametrize("action", ["entered", "exited"])
def test_a_list_that_is_gone_stops_the_delivery(action: Any) -> None:
    with pytest.raises(DestinationRefuses, match="INVALID_USER_LIST_ID"):
        sent(GoogleStandIn(), [message(1, "ann", action)])


def test_a_wrong_key_stops_the_delivery_and_is_not_shown() -> None:
    other = generate_private_key(public_exponent=65_537, key_size=2_048)
    with pytest.raises(DestinationRefuses, match=r"segops@[a-z.]+ gets no token") as failed:
        sent(GoogleStandIn("55"), [message(1, "ann")], file=lambda url: key_file(url, key=other))
    assert "invalid_grant [secret]" in str(failed.value)


def test_a_token_serves_until_shortly_before_it_ends() -> None:
    server = GoogleStandIn("55")

    async def send(adapter: Adapter) -> None:
        await asyncio.gather(*(adapter.send([message(n, f"u{n}")], LIST) for n in range(3)))
        await adapter.send([message(9, "ann", "exited")], LIST)

    run(server, send)
    assert len(server.tokens) == 1
    server.tokens, server.lasts_s = [], 299
    run(server, send)
    assert len(server.tokens) == 4
    assert server.refused == []


def test_a_token_that_was_revoked_is_replaced_and_not_shown() -> None:
    server = GoogleStandIn("55")

    async def send(adapter: Adapter) -> None:
        await adapter.send([message(1, "ann")], LIST)
        server.revoke()
        with pytest.raises(DestinationRefuses, match=r"UNAUTHENTICATED Bearer \[secret\]") as failed:
            await adapter.send([message(2, "ben")], LIST)
        assert "ya29" not in str(failed.value)
        await adapter.send([message(2, "ben")], LIST)

    run(server, send)
    assert server.lists["55"] == of("ann", "ben")


@pytest.mark.parametrize("path", ["/token", "/v1/audienceMembers:ingest"])
@pytest.mark.parametrize("fault", FAULTS)
def test_what_passes_is_tried_again(path: str, fault: str) -> None:
    server = GoogleStandIn("55")
    server.faults, server.retry_after = ["", fault][path == "/token" :], "0.1"

    async def send(adapter: Adapter) -> None:
        with pytest.raises(DestinationAway) as failed:
            await adapter.send([message(1, "ann")], LIST)
        assert failed.value.retry_after_s == (0.1 if fault in ("429", "500") else 0)
        if path != "/token":
            assert await adapter.send([message(1, "ann")], LIST) == [Accepted(f"r{len(server.bodies)}")]

    run(server, send)
    assert server.refused == []


def test_rates_are_kept() -> None:
    server = GoogleStandIn("55")

    async def send(adapter: Adapter) -> None:
        await asyncio.gather(*(adapter.send([message(n, f"u{n}")], LIST) for n in range(330)))

    run(server, send)
    assert len(server.lists["55"]) == 330
    assert server.refused == []


@pytest.mark.filterwarnings("ignore:Sending a large body")
def test_a_batch_fits_into_a_request() -> None:
    server = GoogleStandIn("55")
    most = opened(WRITTEN, key_file("https://oauth2.googleapis.com")).batch.messages
    assert set(sent(server, [message(n, f"u{n}") for n in range(most)])) == {Accepted("r1")}
    assert len(server.lists["55"]) == most


CHANGES = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from(["entered", "quiet", "exited", "updated"])), max_size=4
)


@examples(20, of=200)
@given(
    st.lists(CHANGES, max_size=5),
    st.lists(st.sampled_from(FAULTS), max_size=8),
    st.sets(st.sampled_from("abcd")),
)
def test_after_any_faults_the_list_is_the_members(
    plan: list[list[tuple[str, str]]], faults: list[str], broken: set[str]
) -> None:
    server = GoogleStandIn("55", "56")
    server.faults, server.broken = list(faults), of(*broken)
    members: dict[str, bool] = {}

    async def told(adapter: Adapter) -> None:
        number = 0
        for wave in plan:
            messages = []
            for name, change in dict(wave).items():
                number += 1
                action = "entered" if change == "quiet" else change
                messages.append(message(number, name, action, quiet=change == "quiet"))
                members[name] = members.get(name, False) if change == "updated" else action == "entered"
            await tell_valid(adapter, messages)

    async def tell_valid(adapter: Adapter, messages: list[Message]) -> None:
        """Tell messages again until all are settled: those of broken people are refused, and no others."""
        while messages:
            try:
                outcomes = await adapter.send(messages, LIST)
            except DestinationAway:
                continue
            names = [each.address.partition("@")[0] for each in messages]
            expected = [
                Refused if name in broken and each.action != "updated" else Accepted
                for name, each in zip(names, messages, strict=True)
            ]
            assert [type(each) for each in outcomes] == expected
            return

    run(server, told)
    inside = {name for name, is_member in members.items() if is_member and name not in broken}
    assert server.lists == {"55": of(*inside), "56": set()}
    assert server.refused == []


def test_messages_are_repeated_without_harm() -> None:
    server = GoogleStandIn("55")
    server.faults = ["", "lost", "", "lost"]
    told = [message(1, "ann"), msgspec.structs.replace(message(2, "ben"), action="exited")]

    async def work(adapter: Adapter) -> None:
        await tell(adapter, told, LIST)

    run(server, work)
    assert server.lists["55"] == of("ann")
