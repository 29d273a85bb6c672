"""Group requests for static members: their wire format and the meaning of responses."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from aiokafka.errors import GroupAuthorizationFailedError

from segops.kafka.group_requests import DescribeGroup, LeaveGroup, has_left
from segops.streaming.liveness.watchers import has_namesake

VERSIONS = {13: (0, 5), 15: (0, 5)}


def test_requests_are_encoded_as_kafka_expects() -> None:
    leave = LeaveGroup("g", "name", "id").prepare(VERSIONS)
    assert (leave.API_KEY, leave.API_VERSION) == (13, 3)
    assert leave.encode() == b"\0\x01g" + b"\0\0\0\x01" + b"\0\x02id" + b"\0\x04name"
    describe = DescribeGroup("g").prepare(VERSIONS)
    assert (describe.API_KEY, describe.API_VERSION) == (15, 4)
    assert describe.encode() == b"\0\0\0\x01" + b"\0\x01g" + b"\0"


@pytest.mark.parametrize(("code", "member", "left"), [(0, 0, True), (0, 25, False), (25, 25, False)])
def test_removing_a_member_succeeds_or_finds_none(code: int, member: int, left: bool) -> None:
    answer = SimpleNamespace(error_code=code, members=[("", "name", member)])
    assert has_left(answer) is left


def test_other_responses_are_errors() -> None:
    with pytest.raises(GroupAuthorizationFailedError):
        has_left(SimpleNamespace(error_code=30, members=[]))


class Coordinator:
    """A membership that is lost at the ``lost``-th heartbeat, or unreachable at the ``away``-th."""

    def __init__(self, *, lost: int | None = None, away: int | None = None) -> None:
        self.member_id, self.beats, self.resets, self._lost, self._away = "me", 0, 0, lost, away

    async def _do_heartbeat(self) -> bool:
        self.beats += 1
        if self.beats == self._lost:
            self.member_id = ""
        return self.member_id != "" and self.beats != self._away

    def reset_generation(self) -> None:
        self.resets += 1


@pytest.mark.parametrize(("lost", "found"), [(1, True), (3, True), (None, False)])
def test_duplicate_member_is_detected_when_it_reclaims_the_membership(lost: int | None, found: bool) -> None:
    coordinator = Coordinator(lost=lost)
    assert asyncio.run(has_namesake(coordinator, 0.2)) is found
    assert coordinator.beats == (lost or 4)


def test_check_restarts_after_the_group_did_not_answer() -> None:
    coordinator = Coordinator(away=2)
    assert not asyncio.run(has_namesake(coordinator, 0.2))
    assert (coordinator.beats, coordinator.resets) == (2, 1)
