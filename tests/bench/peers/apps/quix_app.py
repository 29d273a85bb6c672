"""The job on Quix Streams: a StreamingDataFrame with one stateful step.

Idiomatic: JSON in and out by the topics' own deserializers, state by ``stateful=True`` (RocksDB with a
changelog topic, written once per checkpoint), ``expand=True`` for none to many changes of an event.
Omitted: changes by time alone. State is accessible only while processing a message of its key.
"""

import os
from typing import Any

from quixstreams import Application, State
from shop import apply, evaluate, instant_ms, new_profile

application = Application(
    broker_address=os.environ["PEER_BROKERS"],
    consumer_group=os.environ["PEER_NAME"],
    auto_offset_reset="earliest",
    state_dir="state",
)
events = application.topic(os.environ["PEER_INPUT"], key_deserializer="str", value_deserializer="json")
changes = application.topic(os.environ["PEER_OUTPUT"], key_serializer="str", value_serializer="json")


def segment(event: dict[str, Any], state: State) -> list[dict[str, Any]]:
    at = instant_ms(event["timestamp"])
    profile = state.get("profile") or new_profile()
    apply(profile, event, at)
    moved = list(evaluate(profile, at))
    state.set("profile", profile)
    user = event["userId"]
    return [{"profile_id": user, "segment": key, "action": action, "at": at} for key, action in moved]


frame = application.dataframe(events)
frame = frame.apply(segment, stateful=True, expand=True)
frame.to_topic(changes)

if __name__ == "__main__":
    application.run()
