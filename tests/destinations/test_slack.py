"""Slack as a destination: people read how many entered and left, and names only if they are asked for."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.core.errors import DefinitionError, UserError
from segops.destinations.kinds import form_of
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

from .adapters import SECRET, message, opened, tell
from .rate_scale import short_seconds
from .slack_server import FAULTS, PATH, SlackStandIn

__all__ = ["short_seconds"]

WRITTEN = {"kind": "slack", "url": SECRET}
NO_OPTIONS: Any = {}
T = TypeVar("T")


def run(
    channel: SlackStandIn, work: Callable[[Adapter], Awaitable[T]], *, path: str = PATH, **written: Any
) -> T:
    async def served() -> T:
        async with channel.serving() as url:
            adapter = opened(WRITTEN | written, url + path)
            try:
                return await work(adapter)
            finally:
                await adapter.close()

    return asyncio.run(served())


def sent(
    channel: SlackStandIn, messages: Sequence[Message], options: Any = NO_OPTIONS, *, path: str = PATH
) -> list[Outcome]:
    async def send(adapter: Adapter) -> list[Outcome]:
        return [*await adapter.send(messages, options)]

    return run(channel, send, path=path)


def named(number: int, name: Any, action: Any = "entered", **changed: Any) -> Message:
    person = Person(f"p{number}", f"u{number}", email="x@shop.example", traits={"name": {"first": name}})
    found = message(number, "x", action, **changed)
    return Message(
        found.action, found.audience, f"p{number}", person, found.change_id, number, found.reason, 5
    )


def test_a_batch_is_one_digest_without_personal_data() -> None:
    channel = SlackStandIn()
    told = [message(1, "ann"), message(2, "ben"), message(3, "cid", "exited")]
    assert sent(channel, told) == [Accepted()] * 3
    assert channel.texts == ["winback: 2 entered, 1 exited"]
    assert sent(channel, [message(n, f"u{n}", "exited") for n in range(1_200)]) == [Accepted()] * 1_200
    assert channel.texts[1:] == ["winback: 1,200 exited"]
    assert channel.refused == []


def test_quiet_messages_and_updates_are_not_told() -> None:
    channel = SlackStandIn()
    silent = [
        message(1, "ann", quiet=True),
        message(2, "ben", "updated"),
        message(3, "c", "exited", quiet=True),
    ]
    assert sent(channel, silent) == [Accepted()] * 3
    assert channel.calls == []
    assert sent(channel, [*silent, message(4, "dan")]) == [Accepted()] * 4
    assert channel.texts == ["winback: 1 entered"]


@pytest.mark.parametrize(
    ("show", "text"),
    [
        ("trait.name.first", "winback: 1 entered (`Ann`)"),
        ("email", "winback: 1 entered (`x@shop.example`)"),
        ("user_id", "winback: 1 entered (`u1`)"),
        ("trait.name", "winback: 1 entered"),
        ("trait.missing.first", "winback: 1 entered"),
    ],
)
def test_a_few_names_are_shown_if_they_are_asked_for(show: str, text: str) -> None:
    channel = SlackStandIn()
    sent(channel, [named(1, "Ann")], {"show": show})
    assert channel.texts == [text]


def test_names_are_few_and_short_and_mention_no_one() -> None:
    channel = SlackStandIn()
    names = ["<!channel>", "a & `b`", "x" * 50, None, " ", 7, "\x1b[2J", "sixth"]
    sent(channel, [named(n, name) for n, name in enumerate(names)], {"show": "trait.name.first"})
    shown = f"`&lt;!channel&gt;`, `a &amp; 'b'`, `{'x' * 40}…`, `7`, `\\u001b[2J`"
    assert channel.texts == [f"winback: 8 entered ({shown}, …)"]
    assert channel.refused == []


def test_the_erased_are_counted_and_not_named() -> None:
    channel = SlackStandIn()
    gone = message(1, "ann", "exited")
    erased = Message(
        "exited", gone.audience, "p1", Person("p1", "u1", email="ann@shop.example"), "c1", 1, "erasure", 5
    )
    sent(channel, [erased, message(2, "ben", "exited")], {"show": "email"})
    assert channel.texts == ["winback: 2 exited (`ben@shop.example`, …)"]


@pytest.mark.parametrize("show", ["name", "trait.", "trait.a..b", 3, True, ["email"]])
def test_options_are_validated(show: Any) -> None:
    channel = SlackStandIn()
    with pytest.raises(DestinationRefuses, match="show: expected email, user_id or trait"):
        sent(channel, [message(1, "ann")], {"show": show})
    assert channel.calls == []


@pytest.mark.parametrize(
    ("status", "error"),
    [(410, "channel_is_archived"), (403, "action_prohibited"), (404, "no_service"), (400, "invalid_token")],
)
def test_a_webhook_that_is_gone_stops_the_delivery(status: int, error: str) -> None:
    channel = SlackStandIn()
    channel.gone = status, error
    with pytest.raises(DestinationRefuses, match=error):
        sent(channel, [message(1, "ann")])
    assert channel.texts == []


def test_a_digest_that_is_never_taken_is_dead() -> None:
    channel = SlackStandIn()
    told = [named(1, "impossible"), message(2, "ben", quiet=True)]
    found = sent(channel, told, {"show": "trait.name.first"})
    assert [type(each) for each in found] == [Refused, Accepted]


def test_the_url_is_secret() -> None:
    channel = SlackStandIn()
    wrong = "/services/T01234567/B01234567/wrongwrongwrongwrong0000"
    with pytest.raises(DestinationRefuses, match="status 404") as failed:
        sent(channel, [message(1, "ann")], path=wrong)
    assert "[secret]" in str(failed.value) and "wrongwrong" not in str(failed.value)
    channel.gone = 403, f"invalid_token {PATH.rpartition('/')[2]}"
    with pytest.raises(DestinationRefuses) as failed:
        sent(channel, [message(1, "ann")])
    assert PATH.rpartition("/")[2] not in str(failed.value)

    async def shown(adapter: Adapter) -> str:
        channel.gone = None
        return f"{adapter.preview([message(1, 'ann')], {})} {await adapter.check({})}"

    assert PATH.rpartition("/")[2] not in run(channel, shown)


@pytest.mark.parametrize(
    "url",
    [
        "hooks.slack.com/x/0123456789abcdef",
        "http://hooks.slack.com/x/0123456789abcdef",
        "https://hooks.slack.com",
        "https://a:b@hooks.slack.com/0123456789abcdef",
        "https://hooks.slack.com/a b/0123456789abcdef",
        "https://hooks.slack.com/0123456789abcdef#x",
    ],
)
def test_an_invalid_url_is_not_shown(url: str) -> None:
    with pytest.raises(UserError, match="expected https://host/path in the secret of url") as failed:
        opened(WRITTEN, url)
    assert "0123456789abcdef" not in str(failed.value)


def test_a_url_itself_is_never_written() -> None:
    with pytest.raises(DefinitionError, match="url"):
        form_of(
            {"name": "s", "kind": "slack", "url": "https://hooks.slack.com/x"}, "d.yaml", "destinations[0]"
        )


def test_a_preview_is_the_digest_and_sends_nothing() -> None:
    channel = SlackStandIn()

    async def preview(adapter: Adapter) -> Any:
        told = [message(1, "ann"), message(2, "ben", "exited")]
        return [*adapter.preview(told, {}), *adapter.preview([message(3, "c", quiet=True)], {})]

    (found,) = run(channel, preview)
    assert (found.method, found.body) == ("POST", {"text": "winback: 1 entered, 1 exited"})
    assert found.url.endswith("/[secret]")
    assert channel.calls == []


def test_a_check_posts_nothing() -> None:
    channel = SlackStandIn()

    async def check(adapter: Adapter) -> list[bool]:
        return [each.ok for each in (*await adapter.check({}), *await adapter.check({"show": "x"}))]

    assert run(channel, check) == [True, False]
    channel.gone = 404, "no_service"
    assert run(channel, check) == [False, False]
    channel.gone = 400, '{"id": "web.incoming_webhook.text.app_error"}'
    assert run(channel, check) == [True, False]
    assert channel.texts == []


def test_retry_after_is_obeyed_and_rates_are_kept() -> None:
    channel = SlackStandIn(per_minute=3)
    channel.faults, channel.retry_after = ["429"], "0.1"

    async def send(adapter: Adapter) -> None:
        with pytest.raises(DestinationAway, match="status 429") as failed:
            await adapter.send([message(0, "ann")], {})
        assert failed.value.retry_after_s == 0.1
        await asyncio.gather(*(adapter.send([message(n, f"u{n}")], {}) for n in range(4)))

    run(channel, send, per_minute=3)
    assert len(channel.texts) == 4
    assert channel.refused == []


def test_people_are_known_by_their_profile() -> None:
    adapter = opened(WRITTEN, "https://hooks.slack.com/services/T0/B0/0123456789abcdef")
    assert adapter.address_of(Person("user_id:u1")) == "user_id:u1"
    assert adapter.members({}) is None


CHANGES = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from(["entered", "quiet", "exited", "updated"])), max_size=4
)


@examples(20, of=200)
@given(st.lists(CHANGES, max_size=5), st.lists(st.sampled_from(FAULTS), max_size=6))
def test_after_any_faults_each_batch_was_told_as_often_as_it_arrived(
    plan: list[list[tuple[str, str]]], faults: list[str]
) -> None:
    channel = SlackStandIn(per_minute=60)
    channel.faults = list(faults)
    waves = [dict(wave) for wave in plan]

    async def told(adapter: Adapter) -> None:
        for number, wave in enumerate(waves):
            messages = [
                message(number, name, "entered" if change == "quiet" else change, quiet=change == "quiet")
                for name, change in wave.items()
            ]
            await tell(adapter, messages, {})

    run(channel, told, per_minute=60)
    expected, left = [], list(faults)
    for wave in waves:
        counts = Counter(wave.values())
        parts = [f"{counts[action]} {action}" for action in ("entered", "exited") if counts[action]]
        arrives = bool(parts)
        while arrives:
            fault = left.pop(0) if left else ""
            if fault in ("", "lost", "cut"):
                expected.append(f"winback: {', '.join(parts)}")
            arrives = fault != ""
    assert channel.texts == expected
    assert channel.refused == []
