"""Fetches that come back at once without records, paced.

Apache Kafka holds a fetch until there are records, or ``fetch_max_wait_ms`` have passed. The embedded broker
answers at once, so that an idle consumer would ask it thousands of times a second.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.protocol.fetch import FetchRequest

#: The least time from an empty answer's request to the next fetch. Records that arrive meanwhile wait for it.
PAUSE_S: Final = 0.02


def paced(consumer: AIOKafkaConsumer) -> AIOKafkaConsumer:
    """Return the consumer, whose empty fetches take at least ``PAUSE_S``."""
    client: Any = consumer._client  # noqa: SLF001
    send = client.send

    async def sent(node_id: int, request: Any, **options: Any) -> Any:
        if not isinstance(request, FetchRequest):
            return await send(node_id, request, **options)
        began = _now_s()
        response = await send(node_id, request, **options)
        rest = began + PAUSE_S - _now_s()
        if rest > 0 and is_empty(response):
            await asyncio.sleep(rest)
        return response

    client.send = sent
    return consumer


def is_empty(response: Any) -> bool:
    """Return whether a fetch's response has neither records nor errors."""
    return not any(
        error or rest[-1] for _, partitions in response.topics or () for _, error, _, *rest in partitions
    )


def _now_s() -> float:
    return asyncio.get_running_loop().time()
