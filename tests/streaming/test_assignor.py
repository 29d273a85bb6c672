"""The process that an assignment is for: this one, its predecessor, or another with the same name."""

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
    """Return the assignor of a process that has just joined."""
    conf = SimpleNamespace(canonical_url=OWN, consumer_group_instance_id="me")
    made = MemberAssignor(SimpleNamespace(conf=conf, tables=SimpleNamespace(changelog_topics=set())))
    made.metadata(TOPICS)
    return made


def assign(assignor: MemberAssignor, url: str, topics: set[str] = TOPICS) -> bool:
    """Deliver an assignment; return whether the member has to rejoin."""
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


def test_assignment_for_this_process_is_accepted(assignor: MemberAssignor) -> None:
    assert not assign(assignor, OWN)
    assert not assign(assignor, OWN)
    assert {tp.topic for tp in assignor.assigned_actives()} == TOPICS


def test_assignment_for_a_previous_process_is_outdated(assignor: MemberAssignor) -> None:
    assert assign(assignor, FORMER)
    assert assign(assignor, FORMER)  # the broker went down before the group was reassigned
    assert not assign(assignor, OWN)


def test_later_assignment_for_another_address_reveals_a_duplicate_name(
    assignor: MemberAssignor,
) -> None:
    assign(assignor, OWN)
    with pytest.raises(NamesakeError, match="SEGOPS_INSTANCE_ID=me"):
        assign(assignor, FORMER)


def test_assignment_with_fewer_topics_is_outdated_once(assignor: MemberAssignor) -> None:
    assert assign(assignor, OWN, {"events"})
    assert not assign(assignor, OWN, {"events"})  # the other topic does not exist in the cluster


def test_rejoining_sends_different_metadata(assignor: MemberAssignor) -> None:
    first = assignor.metadata(TOPICS).user_data
    assign(assignor, FORMER)
    assert assignor.metadata(TOPICS).user_data != first  # otherwise the broker would not rebalance the group
