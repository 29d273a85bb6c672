"""Meta as a destination: its audiences equal the members after any faults, and hold hashes alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.core.errors import DefinitionError, UserError
from segops.destinations.kinds import form_of
from segops.destinations.meta.api import RATE
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

from .adapters import SECRET, message, opened, run, tell
from .meta_server import APP_SECRET, FAULTS, TOKEN, MetaStandIn
from .rate_scale import short_seconds

__all__ = ["short_seconds"]

WRITTEN = {"kind": "meta", "token": SECRET}
BY_ID = WRITTEN | {"identify_by": "user_id"}
AUDIENCE = {"audience": "238001"}
VALUED = AUDIENCE | {"value": "indicator.ltv"}


def hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def of(*names: str) -> set[str]:
    return {hashed(f"{name}@shop.example") for name in names}


def sent(
    server: MetaStandIn,
    messages: Sequence[Message],
    options: Any = AUDIENCE,
    *,
    written: Any = WRITTEN,
    token: str = TOKEN,
) -> list[Outcome]:
    async def send(adapter: Adapter) -> list[Outcome]:
        return [*await adapter.send(messages, options)]

    return run(server, written, token, send)


def test_members_are_added_by_hash_and_removed() -> None:
    server = MetaStandIn("238001", "238002")
    assert sent(server, [message(1, "ann"), message(2, "ben", quiet=True)]) == [Accepted()] * 2
    assert set(server.audiences["238001"]) == of("ann", "ben")
    leaving = [message(3, "ann", "exited"), message(4, "stranger", "exited")]
    assert sent(server, [*leaving, message(5, "cid")]) == [Accepted()] * 3
    assert set(server.audiences["238001"]) == of("ben", "cid")
    assert (server.audiences["238002"], server.refused) == ({}, [])
    assert server.calls[-2:] == ["POST /v25.0/238001/users", "DELETE /v25.0/238001/users"]


def test_updates_are_nothing_to_audiences_without_values() -> None:
    server = MetaStandIn("238001")
    assert sent(server, [message(1, "ann", "updated", properties={"ltv": 7})]) == [Accepted()]
    assert server.calls == []


@pytest.mark.parametrize(
    ("properties", "value"),
    [
        ({"ltv": 71.5}, 71.5),
        ({"ltv": 7}, 7),
        ({"ltv": -3}, 0),
        ({"ltv": True}, 0),
        ({"ltv": "7"}, 0),
        ({}, 0),
    ],
)
def test_values_are_told_and_updated(properties: Any, value: Any) -> None:
    server = MetaStandIn("238001")
    server.value_based = {"238001"}
    for number, action in enumerate(("entered", "updated")):
        server.audiences["238001"].clear()
        sent(server, [message(number, "ann", action, properties=properties)], VALUED)
        (row,) = server.audiences["238001"].values()
        assert row == {"EMAIL": hashed("ann@shop.example"), "LOOKALIKE_VALUE": value}
    sent(server, [message(3, "ann", "exited")], VALUED)
    assert server.audiences["238001"] == {}
    assert server.refused == []


def test_a_value_may_be_a_trait() -> None:
    server = MetaStandIn("238001")
    server.value_based = {"238001"}
    sent(
        server,
        [message(1, "ann", properties={"a.b": 3})],
        AUDIENCE | {"value": "trait.a.b"},
    )
    assert [each["LOOKALIKE_VALUE"] for each in server.audiences["238001"].values()] == [3]


def test_people_known_by_id_are_matched_by_more_and_removed_by_the_id() -> None:
    server = MetaStandIn("238001")
    person = Person("p", "Ann 7", email=" Ann@Shop.example", traits={"phone": "+49 (0)170 1234567"})
    known = msgspec.structs.replace(message(1, "x"), address="Ann 7", person=person)
    bare = msgspec.structs.replace(message(2, "x"), address="ben", person=Person("q", "ben"))
    assert sent(server, [known, bare], written=BY_ID) == [Accepted()] * 2
    assert server.audiences["238001"] == {
        "Ann 7": {"EXTERN_ID": "Ann 7", "EMAIL": hashed("ann@shop.example"), "PHONE": hashed("491701234567")},
        "ben": {"EXTERN_ID": "ben", "EMAIL": "", "PHONE": ""},
    }
    erased = msgspec.structs.replace(known, action="exited", person=Person("p"))
    assert sent(server, [erased], written=BY_ID) == [Accepted()]
    assert set(server.audiences["238001"]) == {"ben"}


def test_people_known_by_phone() -> None:
    server = MetaStandIn("238001")
    written = WRITTEN | {"identify_by": "phone", "phone": "contact.mobile"}
    adapter = opened(written, TOKEN)
    person = Person("p", traits={"contact": {"mobile": "0049 170/123-4567"}, "phone": "+1"})
    assert adapter.address_of(person) == "+491701234567"
    assert adapter.address_of(Person("p", traits={"contact": {"mobile": "0170 1234567"}})) is None
    assert adapter.address_of(Person("p", traits={"contact": "+491701234567"})) is None
    entered = message(1, "x", address="+491701234567")
    sent(server, [entered], written=written)
    assert set(server.audiences["238001"]) == {hashed("491701234567")}
    sent(server, [msgspec.structs.replace(entered, action="exited")], written=written)
    assert server.audiences["238001"] == {}


def test_addresses_are_normalised() -> None:
    assert (
        opened(WRITTEN, TOKEN).address_of(Person("p", "u", email=" Ann@Shop.example ")) == "ann@shop.example"
    )
    assert opened(WRITTEN, TOKEN).address_of(Person("p", "u")) is None
    assert opened(BY_ID, TOKEN).address_of(Person("p", " Ann 7 ")) == "Ann 7"
    assert opened(BY_ID, TOKEN).address_of(Person("p", " ")) is None


def test_an_invalid_row_does_not_hold_up_the_others() -> None:
    server = MetaStandIn("238001")
    server.broken = of("cid")
    told = [message(n, name) for n, name in enumerate(("ann", "ben", "cid", "dan", "eve"))]
    found = sent(server, [*told, message(9, "fay", "exited")])
    assert found[2] == Refused("Meta counts the row as invalid", "77")
    assert [type(each) for each in found] == [Accepted, Accepted, Refused, Accepted, Accepted, Accepted]
    assert set(server.audiences["238001"]) == of("ann", "ben", "dan", "eve")
    assert sent(server, [message(10, "cid", "exited")]) == [Accepted()]


def test_many_invalid_rows_stop_the_delivery() -> None:
    server = MetaStandIn("238001")
    names = [f"u{n}" for n in range(30)]
    server.broken = of(*names[:21])
    with pytest.raises(DestinationRefuses, match="21 of 30 rows are invalid"):
        sent(server, [message(n, name) for n, name in enumerate(names)])
    assert len(server.calls) == 1


@pytest.mark.parametrize("action", ["entered", "exited"])
def test_an_audience_that_is_gone_or_blocked_stops_the_delivery(action: Any) -> None:
    server = MetaStandIn()
    with pytest.raises(DestinationRefuses, match="the audience does not exist, or the token may not see it"):
        sent(server, [message(1, "ann", action)])
    server = MetaStandIn("238001")
    server.flagged = {"238001"}
    with pytest.raises(DestinationRefuses, match="operation_status 471"):
        sent(server, [message(1, "ann", action)])


def test_a_value_based_audience_without_the_option_stops_the_delivery() -> None:
    server = MetaStandIn("238001")
    server.value_based = {"238001"}
    with pytest.raises(DestinationRefuses, match="LOOKALIKE_VALUE"):
        sent(server, [message(1, "ann"), message(2, "ben")])
    assert len(server.calls) == 1


def test_a_wrong_token_stops_the_delivery_and_is_not_shown() -> None:
    with pytest.raises(DestinationRefuses, match="the token is invalid, or has expired") as failed:
        sent(MetaStandIn("238001"), [message(1, "ann")], token="EAAB-wrong-token-0123")
    assert "EAAB-wrong-token-0123" not in str(failed.value)
    assert "[secret]" in str(failed.value)


def test_calls_are_proven_to_be_the_apps() -> None:
    server = MetaStandIn("238001")
    server.app_secret = APP_SECRET
    with pytest.raises(DestinationRefuses, match="appsecret_proof"):
        sent(server, [message(1, "ann")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("APP_SECRET", APP_SECRET)
        written = WRITTEN | {"app_secret": {"env": "APP_SECRET"}}
        assert sent(server, [message(1, "ann")], written=written) == [Accepted()]
        patch.setenv("APP_SECRET", "another")
        with pytest.raises(DestinationRefuses, match=r"Invalid appsecret_proof \[secret\]"):
            sent(server, [message(1, "ann")], written=written)


@pytest.mark.parametrize("code", ["80003", "17", "4"])
def test_a_limit_says_for_how_long(code: str) -> None:
    server = MetaStandIn("238001")
    server.faults, server.minutes = [code], 3
    with pytest.raises(DestinationAway) as failed:
        sent(server, [message(1, "ann")])
    assert failed.value.retry_after_s == 180
    server.faults, server.minutes = [code], 0
    with pytest.raises(DestinationAway) as failed:
        sent(server, [message(1, "ann")])
    assert failed.value.retry_after_s == 60


@pytest.mark.parametrize("fault", ["1", "transient", "500", "reset", "cut"])
def test_what_passes_is_tried_again(fault: str) -> None:
    server = MetaStandIn("238001")
    server.faults = [fault]
    with pytest.raises(DestinationAway):
        sent(server, [message(1, "ann")])
    assert sent(server, [message(1, "ann")]) == [Accepted()]


def test_limits_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segops.destinations.meta.failures._LEAST_WAIT_S", 0.0)
    server = MetaStandIn("238001")
    server.faults, server.minutes = ["80003"], 0.002

    async def send(adapter: Adapter) -> None:
        await tell(adapter, [message(1, "ann")], AUDIENCE)

    run(server, WRITTEN, TOKEN, send)
    assert (len(server.calls), server.refused) == (2, [])
    assert RATE.steady * 60 <= server.rates["all"][3_600]


@pytest.mark.filterwarnings("ignore:Sending a large body")
def test_a_batch_fits_into_a_request() -> None:
    server, most = MetaStandIn("238001"), opened(WRITTEN, TOKEN).batch.messages
    assert set(sent(server, [message(n, f"u{n}") for n in range(most)])) == {Accepted()}
    assert (len(server.audiences["238001"]), len(server.calls)) == (most, 1)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "missing option audience"),
        ({"audience": "../me"}, "expected the number of a Custom Audience, got '../me'"),
        ({"audience": True}, "expected the number of a Custom Audience, got True"),
        ({"audience": "\u0663"}, "expected the number of a Custom Audience"),
        (AUDIENCE | {"value": "ltv"}, "value: expected indicator.KEY or trait.PATH, got 'ltv'"),
        (AUDIENCE | {"value": "indicator."}, "value: expected"),
    ],
)
def test_options_are_validated(options: Any, reason: str) -> None:
    server = MetaStandIn("238001")
    with pytest.raises(DestinationRefuses, match=reason):
        sent(server, [message(1, "ann")], options)
    assert server.calls == []


@pytest.mark.parametrize(
    "written",
    [{"version": "25"}, {"url": "https://a/b"}, {"identify_by": "name"}, {"token": "EAAB"}, {"x": 1}],
)
def test_forms_are_validated(written: Any) -> None:
    with pytest.raises(DefinitionError, match=next(iter(written))):
        form_of({"name": "m", **WRITTEN, **written}, "d.yaml", "destinations[0]")


def test_a_missing_secret_is_named() -> None:
    with pytest.raises(UserError, match="NOT_SET is not set"):
        opened(WRITTEN | {"app_secret": {"env": "NOT_SET"}}, TOKEN)


def test_a_check_reads_the_audience() -> None:
    server = MetaStandIn("1", "2", "3")
    server.flagged, server.value_based = {"2"}, {"3"}
    value = {"value": "indicator.ltv"}
    options: list[Any] = [
        {},
        {"audience": 1},
        {"audience": 2},
        {"audience": "3"},
        {"audience": "3"} | value,
        {"audience": "1"} | value,
        {"audience": "4"},
        {"audience": "x"},
    ]

    async def check(adapter: Adapter) -> list[list[bool]]:
        return [[each.ok for each in await adapter.check(some)] for some in options]

    assert run(server, WRITTEN, TOKEN, check) == [
        [True],
        [True, True],
        [True, False],
        [True, False],
        [True, True],
        [True, False],
        [True, False],
        [True, False],
    ]
    assert run(server, WRITTEN, "wrong", check)[1] == [False, False]
    assert {each.split()[0] for each in server.calls} == {"GET"}
    assert server.refused == []


def test_a_preview_shows_hashes_and_sends_nothing() -> None:
    server = MetaStandIn("238001")

    async def preview(adapter: Adapter) -> Any:
        assert adapter.members(AUDIENCE) is None
        return adapter.preview(
            [message(1, "ann"), message(2, "ben", "exited"), message(3, "c", "updated")], AUDIENCE
        )

    found = run(server, WRITTEN, TOKEN, preview)
    assert [(each.method, each.body["payload"]["data"]) for each in found] == [
        ("POST", [[hashed("ann@shop.example")]]),
        ("DELETE", [[hashed("ben@shop.example")]]),
    ]
    assert TOKEN not in repr(found) and "ann@" not in repr(found)
    assert server.calls == []


CHANGES = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from(["entered", "quiet", "exited", "updated"])), max_size=4
)


@pytest.mark.parametrize("by", ["email", "user_id"])
@examples(12, of=150)
@given(st.lists(CHANGES, max_size=5), st.lists(st.sampled_from(FAULTS), max_size=8))
def test_after_any_faults_the_audience_is_the_members(
    by: str, plan: list[list[tuple[str, str]]], faults: list[str]
) -> None:
    server = MetaStandIn("238001", "238002")
    server.value_based = {"238001"}
    server.faults = list(faults)
    addresses = {name: f"{name}@shop.example" if by == "email" else name for name in "abcd"}

    async def told(adapter: Adapter) -> dict[str, int]:
        values, number = dict[str, int](), 0
        for wave in plan:
            messages = []
            for name, change in dict(wave).items():
                number += 1
                action, quiet = ("entered", True) if change == "quiet" else (change, False)
                told = message(
                    number, name, action, quiet=quiet, address=addresses[name], properties={"ltv": number}
                )
                messages.append(told)
                values |= {name: number}
                if action == "exited":
                    del values[name]
            await tell(adapter, messages, VALUED)
        return values

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("segops.destinations.meta.failures._LEAST_WAIT_S", 0.0)
        values = run(server, WRITTEN | {"identify_by": by}, TOKEN, told)
    cells = {addresses[name] if by == "user_id" else hashed(addresses[name]): n for name, n in values.items()}
    found = {cell: row["LOOKALIKE_VALUE"] for cell, row in server.audiences["238001"].items()}
    # An update is told of a member; told of someone else, as here, it makes one.
    assert found == cells
    assert (server.audiences["238002"], server.refused) == ({}, [])
