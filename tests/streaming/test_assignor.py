"""Whom an assignment was made for: this process, its former one, or another that has its name now."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from faust.assignor.client_assignment import ClientAssignment, ClientMetadata

from segops.streaming.faust.assignor import MemberAssignor, NamesakeError

OWN, FORMER = "http://host:7001", "http://host:7000"
TOPICS = {"events", "profile-events"}


@pytest.fixture
def assignor() -> MemberAssignor:
    """Of a process that has just joined."""
    conf = SimpleNamespace(canonical_url=OWN, consumer_group_instance_id="me")
    made = MemberAssignor(SimpleNamespace(conf=conf, tables=SimpleNamespace(changelog_topics=set())))
    made.metadata(TOPICS)
    return made


def assign(assignor: MemberAssignor, url: str, topics: set[str] = TOPICS) -> bool:
    """Hand an assignment over; whether the member has to join once more."""
    actives = {topic: [0] for topic in sorted(topics)}
    metadata = ClientMetadata(
        assignment=ClientAssignment(actives=actives, standbys={}),
        url=url,
        changelog_distribution={},
        topic_groups=dict.fromkeys(topics, 0),
    )
    user_data = assignor._compress(metadata.dumps())
    assignor.on_assignment(ConsumerProtocolMemberAssignment(4, sorted(actives.items()), user_data))
    return assignor.outdated


def test_an_assignment_for_this_process_is_taken(assignor: MemberAssignor) -> None:
    assert not assign(assignor, OWN)
    assert not assign(assignor, OWN)
    assert {tp.topic for tp in assignor.assigned_actives()} == TOPICS


def test_one_for_a_former_process_is_outdated_until_one_for_this_comes(assignor: MemberAssignor) -> None:
    assert assign(assignor, FORMER)
    assert assign(assignor, FORMER)  # the broker went away before the group assigned anew
    assert not assign(assignor, OWN)


def test_one_for_another_address_later_on_means_that_another_process_has_the_name(
    assignor: MemberAssignor,
) -> None:
    assign(assignor, OWN)
    with pytest.raises(NamesakeError, match="SEGOPS_INSTANCE_ID=me"):
        assign(assignor, FORMER)


def test_one_that_knows_less_topics_is_outdated_once(assignor: MemberAssignor) -> None:
    assert assign(assignor, OWN, {"events"})
    assert not assign(assignor, OWN, {"events"})  # the cluster does not have the other


def test_joining_again_tells_other_metadata_than_the_first_time(assignor: MemberAssignor) -> None:
    first = assignor.metadata(TOPICS).user_data
    assign(assignor, FORMER)
    assert (
        assignor.metadata(TOPICS).user_data != first
    )  # else the broker would not make the group assign anew
