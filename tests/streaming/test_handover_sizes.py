"""Hand-overs so large that the merged profile could not be stored any more."""

from __future__ import annotations

import json

import pytest

from segops.core.engine import Engine
from segops.core.messages import Handover, Message
from segops.core.segments import SegmentSet
from segops.schemas.messages import encode_message
from segops.schemas.state import encode_profile
from segops.stores.memory import MemoryStores
from segops.streaming.lane import Bounds, SegmentLane, Start
from segops.streaming.reports import Outlet
from segops.streaming.ticks import TYPE_HEADER

from .test_lane import Rec, clock, forwarded

ENGINE = Engine(SegmentSet([]))
BYTES = 6_000


def lane(outlet: Outlet) -> SegmentLane:
    start = Start(0, clock(), since_ms=0)
    return SegmentLane(
        MemoryStores().open(0), ENGINE, start=start, outlet=outlet, bounds=Bounds(state_bytes=BYTES)
    )


def identify(offset: int, name: str, text: str, **identifiers: str) -> Rec:
    form = {"type": "identify", "messageId": f"m-{name}", "traits": {name: text}, **identifiers}
    return forwarded(json.dumps({**form, "timestamp": "2025-01-01T00:00:00Z"}).encode(), offset)


def said(offset: int, message: Message) -> Rec:
    return Rec(offset, message.to.encode(), encode_message(message), [(TYPE_HEADER, b"handover")])


def handed_over(size: int) -> Message:
    """What the device's own partition sends when the user claims it."""
    outlet = Outlet()
    device = lane(outlet)
    device.process(
        [identify(0, "theirs", "x" * size, anonymousId="a"), identify(1, "more", "", anonymousId="a")]
    )
    asked = Outlet()
    user = lane(asked)
    user.process([identify(0, "login", "", userId="u", anonymousId="a")])
    (claim,) = asked.sent
    device.process([Rec(2, claim.to.encode(), encode_message(claim), [(TYPE_HEADER, b"claim")])])
    (handover,) = outlet.sent
    return handover


@pytest.mark.parametrize(("mine", "theirs", "fits"), [(3_000, 2_000, True), (3_500, 3_500, False)])
def test_a_history_that_would_be_too_much_is_left_behind(mine: int, theirs: int, fits: bool) -> None:
    outlet = Outlet()
    user = lane(outlet)
    handover = handed_over(theirs)
    assert isinstance(handover, Handover)
    user.process(
        [identify(0, "mine", "y" * mine, userId="u"), identify(1, "login", "", userId="u", anonymousId="a")]
    )
    user.process([said(2, handover), identify(3, "late", "", userId="u", anonymousId="a")])
    profile = user.look("user_id:u")
    assert profile is not None and profile.links is not None
    assert len(encode_profile(profile)) <= BYTES
    assert profile.links.pending == {} and "anonymous_id:a" in profile.links.owned
    assert [reason for _, reason, _ in outlet.rejected] == ([] if fits else ["state_too_large"])
    own = {"mine", "login", "late"}
    assert profile.traits.keys() == (own | {"theirs", "more"} if fits else own)
