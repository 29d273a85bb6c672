"""Which dead letters can be sent once more, and how they are read."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from segops import config
from segops.operations.dead_letters import DeadLetter, letter_of, tried
from segops.schemas.dead_letters import dead_letter

EVENT = b'{"type": "track", "event": "Visited", "userId": "u1", "messageId": "m1"}'


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> config.Settings:
    for name, _, _ in config.variables():
        monkeypatch.delenv(name, raising=False)
    return config.load()


def letter(**changed: Any) -> DeadLetter:
    found = {"origin": "segops.events:0:5", "reason": "too_large", "value": EVENT, "cut": False, **changed}
    return DeadLetter("0:17", 1_000, detail="", key=None, **found)


@pytest.mark.parametrize(
    "origin", ["segops.events:0:5", "collector:website:batch[0]", "segops.profile-events:1:7"]
)
def test_event_may_be_sent_once_more(settings: config.Settings, origin: str) -> None:
    found = tried(letter(origin=origin), settings, now_ms=2_000)
    assert (found.id, found.profile_id, found.refused) == ("0:17", "user_id:u1", "")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"cut": True}, "only the beginning of its bytes is kept"),
        ({"reason": "identity_limit"}, "a note: the event itself was applied"),
        ({"origin": "shopify:shop-1:orders/create"}, "a webhook of Shopify, not an event"),
        ({"origin": "klaviyo:AbC:events"}, "an object of Klaviyo, not an event"),
        ({"origin": "orders.v1:0:5"}, "a record of orders.v1, not an event: mend the mapping"),
        ({"origin": ""}, "a record of an unknown origin"),
        ({"value": b"{"}, "would be rejected again: "),
        ({"value": None}, "would be rejected again: empty"),
        ({"value": EVENT.replace(b"u1", b"u" * 40_000)}, "would be rejected again: too_large"),
    ],
)
def test_what_is_no_event_is_refused_with_the_reason(
    settings: config.Settings, changed: dict[str, Any], why: str
) -> None:
    found = tried(letter(**changed), settings, now_ms=2_000)
    assert found.profile_id is None and why in found.refused


def test_record_is_read_as_it_was_written() -> None:
    record: Any = SimpleNamespace(
        offset=17,
        partition=3,
        timestamp=1_000,
        key=b"u1",
        value=b"x" * 500_000,
        headers=[("segops-from", b"orders.v1:0:17"), ("other", b"")],
    )
    key, value, headers = dead_letter(record, "segops.events:0:5", "too_large", "500,000 bytes")
    written: Any = SimpleNamespace(**{**vars(record), "key": key, "value": value, "headers": headers})
    found = letter_of(written)
    assert (found.id, found.at_ms, found.reason, found.detail) == (
        "3:17",
        1_000,
        "too_large",
        "500,000 bytes",
    )
    assert (found.origin, found.cut, len(found.value or b"")) == ("segops.events:0:5", True, 400_000)
    assert found.headers == (("segops-from", b"orders.v1:0:17"),)
    short: Any = SimpleNamespace(**{**vars(record), "value": EVENT})
    assert not letter_of(
        SimpleNamespace(**{**vars(short), "headers": dead_letter(short, "o", "r", "")[2]})
    ).cut
