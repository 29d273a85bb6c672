"""The job on Faust, as its documentation teaches it: models, one agent, a table.

Idiomatic: the agent takes one event at a time, a ``Record`` describes what it reads of the JSON, the profile
is a table entry on RocksDB, and Faust keeps the changelog. orjson and uvloop are installed, which Faust then
uses.
Omitted: changes by time alone. Faust has no timers per key; a table would have to be scanned by
``app.timer``.
"""

import os
from typing import Any

import faust
from shop import apply, evaluate, instant_ms, new_profile


class Event(faust.Record, serializer="json"):
    type: str
    userId: str
    timestamp: str
    event: str | None = None
    properties: dict[str, Any] | None = None
    traits: dict[str, Any] | None = None


class Change(faust.Record, serializer="json"):
    profile_id: str
    segment: str
    action: str
    at: int


app = faust.App(
    os.environ["PEER_NAME"],
    broker=f"kafka://{os.environ['PEER_BROKERS']}",
    store="rocksdb://",
    topic_partitions=int(os.environ["PEER_PARTITIONS"]),
    topic_replication_factor=1,
    # No standby copy of the state on another worker: the other contestants have none either.
    table_standby_replicas=0,
)
events = app.topic(os.environ["PEER_INPUT"], key_type=str, key_serializer="raw", value_type=Event)
changes = app.topic(os.environ["PEER_OUTPUT"], key_type=str, key_serializer="raw", value_type=Change)
profiles = app.Table("profiles", default=new_profile, key_type=str)


@app.agent(events)
async def segment(stream):
    async for event in stream:
        at = instant_ms(event.timestamp)
        profile = profiles[event.userId]
        apply(profile, event.asdict(), at)
        moved = list(evaluate(profile, at))
        profiles[event.userId] = profile
        for key, action in moved:
            await changes.send(key=event.userId, value=Change(event.userId, key, action, at))
