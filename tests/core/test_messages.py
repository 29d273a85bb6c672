"""Every message between profiles has a handler, a form on Kafka and a place in the documentation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from segops.core.engine import Engine
from segops.core.events import Event
from segops.core.identity.protocol import Identity
from segops.core.links import begin_waiting, is_waiting, own
from segops.core.messages import (
    Claim,
    Erase,
    Forget,
    Forward,
    Handover,
    Listing,
    MergeRequest,
    Message,
    Refused,
    Release,
    Restore,
    Rows,
    Split,
)
from segops.core.profile import Erasing, Profile
from segops.core.segments import SegmentSet
from segops.core.step import StepResult
from segops.schemas.messages import decode_message, encode_message, name_of

README = Path(__file__).parents[2] / "segops/README.md"
MESSAGES = set(get_args(Message))
ENGINE = Engine(SegmentSet([]))
TO, OF = "user_id:u", "email:ada@example.com"
EXAMPLES: list[Message] = [
    Forward(TO, Event("Order Completed", 1, "m1", properties={"total": 2.5})),
    Claim(TO, OF, "anonymous_id:a", explicit=True, at_ms=1),
    MergeRequest(TO, OF, "user_id:v", at_ms=1),
    Handover(TO, OF, "anonymous_id:a", 3, Profile("anonymous_id:a"), at_ms=1),
    Refused(TO, OF, "user_id:v", at_ms=1),
    Erase(TO, Erasing("request", ("vip",)), at_ms=1),
    Forget(TO, OF, Erasing("request"), 4, at_ms=1),
    Split(TO, "anonymous_id:a", 3, Profile("anonymous_id:a"), at_ms=1),
    Restore(TO, OF, 3, Profile(TO), at_ms=1),
    Listing(TO, "vip", 2, 1),
]


def test_there_is_an_example_of_every_message() -> None:
    assert {type(message) for message in EXAMPLES} == MESSAGES


def profile(state: str) -> Profile:
    """The profile ``TO`` in one of the states that the protocol distinguishes."""
    found = ENGINE.new_profile(TO)
    if state != "unlinked":
        own(found, "anonymous_id:b")
    if state == "waiting":
        begin_waiting(found, OF, explicit=False, clock_ms=0)
    found.merged_into = "user_id:a" if state == "redirect" else None
    return found


@pytest.mark.parametrize("state", ["unlinked", "linked", "waiting", "redirect"])
@pytest.mark.parametrize("message", EXAMPLES, ids=name_of)
def test_every_message_is_handled_in_every_state(message: Message, state: str) -> None:
    found = profile(state)
    assert is_waiting(found) == (state == "waiting")
    delivered = decode_message(encode_message(message))
    assert not isinstance(delivered, Release)
    assert isinstance(Identity(ENGINE).on_message(found, delivered, clock_ms=1), StepResult)


@pytest.mark.parametrize("message", EXAMPLES, ids=name_of)
def test_a_message_can_be_forwarded_and_is_read_as_it_was_written(message: Message) -> None:
    message.hops += 1
    assert decode_message(encode_message(message)) == message


def test_the_table_of_topics_names_every_message() -> None:
    types = re.search(r"`segops-type` \((tick, [^)]*)\)", README.read_text("utf-8"))
    assert types is not None
    names = {kind.__struct_config__.tag for kind in (*MESSAGES, Release, Rows)}
    assert set(types[1].split(", ")) == {"tick", *names}
