"""Faust's assignor for static members, which rejoin a group without a rebalance.

The metadata of a member (its address, its topics) reaches the others with the next assignment. A restarted
static member gets its previous assignment back, made for the metadata of its previous process. It then has to
join a second time, with its current member id, to make the group rebalance.
"""

from __future__ import annotations

from typing import Any

from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from faust.assignor.client_assignment import ClientMetadata
from faust.assignor.partition_assignor import PartitionAssignor

from segops.core.errors import UserError


class NamesakeError(UserError):
    """Another worker uses the same static member name."""

    def __init__(self, instance_id: str) -> None:
        super().__init__(
            f"another worker is a member with the same name: is a second one running with "
            f"SEGOPS_INSTANCE_ID={instance_id}?"
        )


class MemberAssignor(PartitionAssignor):
    """Detects assignments that were made for an earlier process with the same member name."""

    #: Whether the latest assignment was made for an earlier process: this one has to join again.
    outdated = False
    _asked = False  # so that a topic missing in the cluster causes only one more join
    _current = False
    _topics: frozenset[str] = frozenset()

    def metadata(self, topics: set[str]) -> Any:
        """Return the metadata with which this member joins the group."""
        self._topics = frozenset(topics)
        return super().metadata(topics)

    def on_assignment(self, assignment: Any) -> None:
        """Apply the leader's assignment. Raises NamesakeError when another process has taken this name."""
        made_for = ClientMetadata.loads(self._decompress(assignment.user_data))
        moved = made_for.url != str(self._url)
        if moved and self._current:
            raise NamesakeError(self.app.conf.consumer_group_instance_id)
        unread = not (self._asked or self._topics <= made_for.topic_groups.keys())
        self.outdated = not self._current and (moved or unread)
        self._current, self._asked = not self.outdated, True
        made_for.url = str(self._url)  # Faust asserts this
        user_data = self._compress(made_for.dumps())
        super().on_assignment(
            ConsumerProtocolMemberAssignment(assignment.version, assignment.assignment, user_data)
        )
