"""The group of the workers: who is in it, taking a member out, and how many a broker can work with."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code

from segops.brokers.embedded import CLUSTER_ID
from segops.config import Settings
from segops.core.errors import UserError
from segops.kafka.clients import running_admin
from segops.kafka.group_requests import DescribeGroup, LeaveGroup, has_left
from segops.kafka.reachability import Unreachable


class GroupMember(NamedTuple):
    """A member: its fixed name (else the id that the broker gave it), and the host that it joined from."""

    name: str
    host: str


class ConsumerGroup(NamedTuple):
    """A group: its state in Kafka's words, and its members by name."""

    state: str
    members: list[GroupMember]


async def describe(settings: Settings) -> ConsumerGroup:
    """The group of these workers as its broker knows it. Raises KafkaError."""
    async with running_admin(settings.kafka) as client:
        return await _describe(client, settings.worker.app_id)


async def _describe(client: AIOKafkaAdminClient, name: str) -> ConsumerGroup:
    ((code, _, state, _, _, members, _),) = (await _ask(client, name, DescribeGroup(name))).groups
    if code:
        raise for_code(code)
    return ConsumerGroup(
        state, sorted(GroupMember(fixed or own, host.lstrip("/")) for own, fixed, _, host, *_ in members)
    )


async def remove(settings: Settings, names: Iterable[str]) -> list[str]:
    """Take members out of the group by their fixed names; those that were in it. Raises KafkaError."""
    group = settings.worker.app_id
    async with running_admin(settings.kafka) as client:
        return [name for name in names if has_left(await _ask(client, group, LeaveGroup(group, name)))]


async def _ask(client: AIOKafkaAdminClient, group: str, request: Any) -> Any:
    node = await client.find_coordinator(group)
    return await client._send_request_to_node(node, request)  # noqa: SLF001 - it has no such request itself


async def for_joining(settings: Settings) -> Settings:
    """The settings to join the group with, once it is clear that this broker can have one more member.

    The embedded one can have one only: while a member joins, it refuses the last commits of the others, so
    that each join or leave would end them all. UserError when it has one of another name. The only one
    leaves when it stops, since none could come while its name is in the group.
    """
    async with running_admin(settings.kafka) as client:
        if not await _is_embedded(client):
            return settings
        members = (await _describe(client, settings.worker.app_id)).members
    others = [member.name for member in members if member.name != settings.worker.instance_id]
    if others:
        raise UserError(
            f"{_ONE_ONLY}, and {', '.join(others)} is in the group {settings.worker.app_id} already; if that "
            f"one is gone for good: segops group remove {' '.join(others)}"
        )
    leaving = settings.worker.model_copy(update={"leave_on_stop": True})
    return settings.model_copy(update={"worker": leaving})


async def allow(settings: Settings, processes: int) -> None:
    """UserError when so many processes cannot work together on this broker.

    One that does not answer is left to the processes, which say so.
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
    "the embedded broker works with one worker process (Apache Kafka with many: segops broker --kind jvm)"
)
