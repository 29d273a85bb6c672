"""The group of the workers: who is in it, and taking a member out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code

from segops.config import Settings
from segops.streaming.client import running_admin
from segops.streaming.group_requests import DescribeGroup, LeaveGroup, has_left


class Member(NamedTuple):
    """A member: its fixed name (else the id that the broker gave it), and the host that it joined from."""

    name: str
    host: str


class Group(NamedTuple):
    """A group: its state in Kafka's words, and its members by name."""

    state: str
    members: list[Member]


async def describe(settings: Settings) -> Group:
    """The group of these workers as its broker knows it. Raises KafkaError."""
    async with running_admin(settings.kafka) as client:
        return await _describe(client, settings.worker.app_id)


async def _describe(client: AIOKafkaAdminClient, name: str) -> Group:
    ((code, _, state, _, _, members, _),) = (await _ask(client, name, DescribeGroup(name))).groups
    if code:
        raise for_code(code)
    return Group(state, sorted(Member(fixed or own, host.lstrip("/")) for own, fixed, _, host, *_ in members))


async def remove(settings: Settings, names: Iterable[str]) -> list[str]:
    """Take members out of the group by their fixed names; those that were in it. Raises KafkaError."""
    group = settings.worker.app_id
    async with running_admin(settings.kafka) as client:
        return [name for name in names if has_left(await _ask(client, group, LeaveGroup(group, name)))]


async def _ask(client: AIOKafkaAdminClient, group: str, request: Any) -> Any:
    node = await client.find_coordinator(group)
    return await client._send_request_to_node(node, request)  # noqa: SLF001 - it has no such request itself
