"""The ceiling: one process that consumes and decodes the input, and does nothing else.

Runs as a separate program, ``python -m tests.bench.peers.ceiling SERVERS TOPIC``, so that nothing else is in
its memory. Prints events per CPU second and per second, without the first tenth.
"""

from __future__ import annotations

import asyncio
import sys
import time

import msgspec

from . import kafka

_WARM_UP = 0.1


async def measure(servers: str, topic: str) -> tuple[float, float]:
    """Return events per CPU second and per second of wall time."""
    decode = msgspec.json.Decoder().decode
    async with kafka.consumer(servers) as reader:
        partitions = await kafka.partitions_of(reader, topic)
        reader.assign(partitions)
        total, seen, begun, cpu, wall = await kafka.count(reader, partitions), 0, 0, 0.0, 0.0
        while seen < total:
            for records in (await reader.getmany(timeout_ms=1_000)).values():
                for record in records:
                    decode(record.value)
                seen += len(records)
            if not begun and seen >= total * _WARM_UP:
                begun, cpu, wall = seen, time.process_time(), time.monotonic()
    return (total - begun) / (time.process_time() - cpu), (total - begun) / (time.monotonic() - wall)


if __name__ == "__main__":
    print(*asyncio.run(measure(*sys.argv[1:])))
