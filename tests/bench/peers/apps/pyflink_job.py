"""The job on PyFlink: the DataStream API, a keyed process function with event-time timers.

Idiomatic: Kafka source and sink of the connector, watermarks from Kafka's timestamps (the events' own), one
value of keyed state in RocksDB, a checkpoint every ten seconds, Python functions in worker processes (the
default). Flink has timers per key, so nothing is omitted. Its durable state is the checkpoint; it keeps no
changelog on Kafka. The sink cannot key a record by a part of it without Java, so the output has one partition
to keep its order.
"""

import os
from pathlib import Path

import orjson
from pyflink.common import Configuration, Types, WatermarkStrategy
from pyflink.common.serialization import SimpleStringSchema
from pyflink.datastream import KeyedProcessFunction, StreamExecutionEnvironment
from pyflink.datastream.connectors.base import DeliveryGuarantee
from pyflink.datastream.connectors.kafka import (
    KafkaOffsetsInitializer,
    KafkaRecordSerializationSchema,
    KafkaSink,
    KafkaSource,
)
from pyflink.datastream.state import ValueStateDescriptor
from shop import apply, evaluate, instant_ms, new_profile, next_edge


class Segment(KeyedProcessFunction):
    def open(self, runtime_context):
        self.profile = runtime_context.get_state(ValueStateDescriptor("profile", Types.PICKLED_BYTE_ARRAY()))

    def process_element(self, event, ctx):
        at = instant_ms(event["timestamp"])
        profile = self.profile.value() or {**new_profile(), "due": None}
        user = event["userId"]
        # The watermark follows the events that it covers: evaluate timers due before this event first.
        while profile["due"] is not None and profile["due"] <= at:
            yield from self.evaluate_at(user, profile, profile["due"], ctx)
        apply(profile, event, at)
        yield from self.evaluate_at(user, profile, at, ctx)
        self.profile.update(profile)

    def on_timer(self, timestamp, ctx):
        profile = self.profile.value()
        if profile["due"] == timestamp:
            yield from self.evaluate_at(ctx.get_current_key(), profile, timestamp, ctx)
            self.profile.update(profile)

    def evaluate_at(self, user, profile, at, ctx):
        for key, action in evaluate(profile, at):
            yield orjson.dumps({"profile_id": user, "segment": key, "action": action, "at": at}).decode()
        edge = next_edge(profile, at)
        if edge != profile["due"]:
            if profile["due"] is not None:
                ctx.timer_service().delete_event_time_timer(profile["due"])
            if edge is not None:
                ctx.timer_service().register_event_time_timer(edge)
            profile["due"] = edge


def main():
    here = Path.cwd()
    config = Configuration()
    config.set_string(
        "pipeline.jars", ";".join(jar.as_uri() for jar in Path(os.environ["PEER_JARS"]).glob("*.jar"))
    )
    config.set_string("state.backend.type", "rocksdb")
    config.set_string("execution.checkpointing.interval", "10s")
    config.set_string("execution.checkpointing.dir", (here / "checkpoints").as_uri())
    config.set_string("io.tmp.dirs", str(here))
    environment = StreamExecutionEnvironment.get_execution_environment(config)
    environment.set_parallelism(1)
    source = (
        KafkaSource.builder()
        .set_bootstrap_servers(os.environ["PEER_BROKERS"])
        .set_topics(os.environ["PEER_INPUT"])
        .set_group_id(os.environ["PEER_NAME"])
        .set_starting_offsets(KafkaOffsetsInitializer.earliest())
        .set_value_only_deserializer(SimpleStringSchema())
        .build()
    )
    schema = (
        KafkaRecordSerializationSchema.builder()
        .set_topic(os.environ["PEER_OUTPUT"])
        .set_value_serialization_schema(SimpleStringSchema())
        .build()
    )
    sink = (
        KafkaSink.builder()
        .set_bootstrap_servers(os.environ["PEER_BROKERS"])
        .set_record_serializer(schema)
        .set_delivery_guarantee(DeliveryGuarantee.AT_LEAST_ONCE)
        .build()
    )
    events = environment.from_source(source, WatermarkStrategy.for_monotonous_timestamps(), "events")
    events.map(orjson.loads).key_by(lambda event: event["userId"], key_type=Types.STRING()).process(
        Segment(), output_type=Types.STRING()
    ).sink_to(sink)
    environment.execute("segments")


if __name__ == "__main__":
    main()
