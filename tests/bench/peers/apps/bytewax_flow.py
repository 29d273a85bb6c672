"""The job on Bytewax: Kafka in, one stateful step, Kafka out, with a recovery store.

Idiomatic: the Kafka operators, orjson for JSON, ``stateful_flat_map`` keyed by the user, a snapshot of
changed state every ten seconds (-s 10) to SQLite recovery partitions. That store is Bytewax's durable state:
it keeps no changelog on Kafka, and the working state is in memory.
Omitted: changes by time alone. A logic is notified by the wall clock (``notify_at``), not by event time.
"""

import os
from typing import Any

import bytewax.operators as op
import orjson
from bytewax.connectors.kafka import KafkaSinkMessage
from bytewax.connectors.kafka import operators as kop
from bytewax.dataflow import Dataflow
from shop import Profile, apply, evaluate, instant_ms, new_profile

BROKERS = [os.environ["PEER_BROKERS"]]


def keyed(message: Any) -> tuple[str, dict[str, Any]]:
    event = orjson.loads(message.value)
    return event["userId"], event


def segment(profile: Profile | None, event: dict[str, Any]) -> tuple[Profile, list[dict[str, Any]]]:
    at = instant_ms(event["timestamp"])
    profile = profile or new_profile()
    apply(profile, event, at)
    moved = evaluate(profile, at)
    user = event["userId"]
    return profile, [
        {"profile_id": user, "segment": key, "action": action, "at": at} for key, action in moved
    ]


def message(change: tuple[str, dict[str, Any]]) -> KafkaSinkMessage:
    return KafkaSinkMessage(change[0].encode(), orjson.dumps(change[1]))


flow = Dataflow("segments")
source = kop.input("events", flow, brokers=BROKERS, topics=[os.environ["PEER_INPUT"]])
events = op.map("decode", source.oks, keyed)
changes = op.stateful_flat_map("segment", events, segment)
kop.output("changes", op.map("encode", changes, message), brokers=BROKERS, topic=os.environ["PEER_OUTPUT"])
