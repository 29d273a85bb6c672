"""Faust's assignor for members with fixed names, which the group takes back without asking anything.

What a member tells when it joins (its address, its topics) reaches the others with the next assignment. A
member with a fixed name that was started again gets its former assignment, made for what its former
process told. It has to join once more, as the member that it is by then: that makes the group assign anew.
"""

from __future__ import annotations

from typing import Any

from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from faust.assignor.client_assignment import ClientMetadata
from faust.assignor.partition_assignor import PartitionAssignor

from segops.core.errors import UserError


class NamesakeError(UserError):
    """Another worker runs with this one's fixed name in the group."""

    def __init__(self, instance_id: str) -> None:
        super().__init__(
            "the group took this worker for another one: is a second worker running with "
            f"SEGOPS_INSTANCE_ID={instance_id}?"
        )


class MemberAssignor(PartitionAssignor):
    """Tells whether an assignment was made for this process, or for one before it of the same name."""

    #: Whether the latest assignment was made for a former process: this one has to join once more.
    outdated = False
    _asked = False  # so that a topic which the cluster does not have is asked for once
    _current = False
    _topics: frozenset[str] = frozenset()

    def metadata(self, topics: set[str]) -> Any:
        """What this member tells the group when it joins."""
        self._topics = frozenset(topics)
        return super().metadata(topics)

    def on_assignment(self, assignment: Any) -> None:
        """Take over what the leader sent. NamesakeError when another process has this one's name by now."""
        made_for = ClientMetadata.loads(self._decompress(assignment.user_data))
        moved = made_for.url != str(self._url)
        if moved and self._current:
            raise NamesakeError(self.app.conf.consumer_group_instance_id)
        unread = not (self._asked or self._topics <= made_for.topic_groups.keys())
        self.outdated = not self._current and (moved or unread)
        self._current, self._asked = not self.outdated, True
        made_for.url = str(self._url)  # Faust asserts that it is
        user_data = self._compress(made_for.dumps())
        super().on_assignment(
            ConsumerProtocolMemberAssignment(assignment.version, assignment.assignment, user_data)
        )
