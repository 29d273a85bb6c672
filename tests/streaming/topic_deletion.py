"""Topics that are deleted under a stack."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from segops.kafka.clients import running_admin

from .helpers import DEADLINE_S, Stack


def delete_topics(stack: Stack, names: Sequence[str]) -> None:
    """Delete topics, and wait until the broker no longer shows them."""

    async def run() -> None:
        async with running_admin(stack.settings.kafka) as admin:
            await admin.delete_topics([*names])
            async with asyncio.timeout(DEADLINE_S):
                while set(names) & {*await admin.list_topics()}:
                    await asyncio.sleep(0.1)

    asyncio.run(run())
