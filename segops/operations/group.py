"""The workers' consumer group: its members, removing them, and how many workers a broker supports."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final, NamedTuple

import msgspec
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from aiokafka.errors import for_code

from segops.brokers.embedded import CLUSTER_ID
from segops.config import Settings
from segops.core.errors import UserError
from segops.kafka.clients import running_admin
from segops.kafka.coordinator import once_available
from segops.kafka.group_requests import DescribeGroup, LeaveGroup, has_left
from segops.kafka.reachability import Unreachable


class GroupMember(NamedTuple):
    """A member: its static name, else the id given by the broker, and the host it joined from.

    ``url``: the address of its HTTP server as it tells the others of the group, "" if that is unknown.
    """

    name: str
    host: str
    url: str = ""


class ConsumerGroup(NamedTuple):
    """A group: its state as Kafka names it, and its members sorted by name."""

    state: str
    members: list[GroupMember]


async def describe(settings: Settings) -> ConsumerGroup:
    """Describe the workers' group. Raises KafkaError."""
    async with running_admin(settings.kafka) as client:
        return await once_available(lambda: _describe(client, settings.worker.app_id))


async def _describe(client: AIOKafkaAdminClient, name: str) -> ConsumerGroup:
    ((code, _, state, _, _, members, _),) = (await _send(client, name, DescribeGroup(name))).groups
    if code:
        raise for_code(code)
    return ConsumerGroup(
        state,
        sorted(
            GroupMember(fixed or own, host.lstrip("/"), url_in(metadata))
            for own, fixed, _, host, metadata, _ in members
        ),
    )


def url_in(metadata: bytes | None) -> str:
    """Return the address in the metadata with which a worker joins its group, "" without one.

    >>> url_in(ConsumerProtocolMemberMetadata(0, ["events"], b'{"url":"http://10.0.0.7:6066"}').encode())
    'http://10.0.0.7:6066'
    >>> url_in(b"of another client")
    ''
    """
    try:
        joined = ConsumerProtocolMemberMetadata.decode(metadata or b"")
        return msgspec.json.decode(joined.user_data or b"{}", type=_Announced).url
    except (ValueError, TypeError, IndexError, struct.error, msgspec.MsgspecError):
        return ""


class _Announced(msgspec.Struct):
    """What a worker tells the others of its group; the rest of it is Faust's own."""

    url: str = ""


async def remove(settings: Settings, names: Iterable[str]) -> list[str]:
    """Remove members from the group by static name and return the removed ones. Raises KafkaError."""
    group = settings.worker.app_id
    async with running_admin(settings.kafka) as client:
        return [name for name in names if has_left(await _send(client, group, LeaveGroup(group, name)))]


async def _send(client: AIOKafkaAdminClient, group: str, request: Any) -> Any:
    node = await client.find_coordinator(group)
    return await client._send_request_to_node(node, request)  # noqa: SLF001 - it lacks these requests


async def for_joining(settings: Settings) -> Settings:
    """Check that the broker supports one more member, and return the settings to join the group with.

    The embedded broker supports one member only: while a member joins, it rejects the last commits of the
    others, so each join or leave would end them all. Its only worker leaves the group when it stops, since no
    other could join before. Raises UserError when the group has a member of another name.
    """
    async with running_admin(settings.kafka) as client:
        if not await _is_embedded(client):
            return settings
        members = (await _describe(client, settings.worker.app_id)).members
    others = [member.name for member in members if member.name != settings.worker.instance_id]
    if others:
        raise UserError(
            f"{_ONE_ONLY}, and {', '.join(others)} is already in the group {settings.worker.app_id}; if that "
            f"worker no longer exists: segops group remove {' '.join(others)}"
        )
    leaving = settings.worker.model_copy(update={"leave_on_stop": True})
    return settings.model_copy(update={"worker": leaving})


async def check_processes(settings: Settings, processes: int) -> None:
    """Raise UserError when the broker does not support ``processes`` workers.

    A broker that does not answer is reported by the processes themselves.
    """
    embedded = False
    if processes > 1:
        with suppress(Unreachable):
            async with running_admin(settings.kafka) as client:
                embedded = await _is_embedded(client)
    if embedded:
        raise UserError(f"{_ONE_ONLY}, not with {processes}")


async def _is_embedded(client: AIOKafkaAdminClient) -> bool:
    return bool((await client.describe_cluster())["cluster_id"] == CLUSTER_ID)


_ONE_ONLY: Final = (
    "the embedded broker supports one worker process (Apache Kafka supports many: segops broker --kind jvm)"
)
