"""A source tried on a sample of its topic, and a draft of one: nothing is written to Kafka."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from segops.config import Settings
from segops.core.errors import RejectedEvent, UserError
from segops.kafka.copying import Output
from segops.kafka.sampling import Sampled, sample
from segops.schemas.identifying import limits_of
from segops.sources.copying import Mapper, Target, map_records
from segops.sources.decoding import Decoder
from segops.sources.framing import unframe
from segops.sources.inference import Draft, draft
from segops.sources.model import Source
from segops.sources.registry import Registry

_FORMATS: Final = {"AVRO": "avro", "PROTOBUF": "protobuf", "JSON": "json"}
_ENVELOPE: Final = {"op", "ts_ms"}


class Tried(NamedTuple):
    """What a record became: events, or the reason and detail of its rejection; neither if left out."""

    origin: str
    timestamp_ms: int
    events: list[Output]
    reason: str | None = None
    detail: str = ""


async def try_source(settings: Settings, source: Source, count: int) -> list[Tried]:
    """Map about the latest ``count`` records of a source.

    Raises RegistryAway, UserError if the topic does not exist or is empty, DefinitionError for its schema.
    """
    topics = settings.topics
    target = Target(topics.events, topics.dead_letters, 1, limits_of(settings))
    async with Registry(settings.sources) as registry:
        mapper = Mapper(source, Decoder(source, registry))
        return [await _tried(mapper, each, target) for each in await sample(settings, source.topic, count)]


async def _tried(mapper: Mapper, sampled: Sampled, target: Target) -> Tried:
    partition, record = sampled
    origin = f"{mapper.source.topic}:{partition}:{record.offset}"
    mapped = await map_records(mapper, partition, [record], target=target)
    if mapped.away is not None:
        raise mapped.away
    if not mapped.rejected:
        return Tried(origin, record.timestamp, mapped.outputs)
    headers = dict(mapped.outputs[0].headers)
    reason, detail = headers["segops-reason"].decode(), headers["segops-detail"].decode()
    return Tried(origin, record.timestamp, [], reason, detail)


async def infer(settings: Settings, topic: str, count: int) -> Draft:
    """Draft a source from about the latest ``count`` records of a topic.

    Raises UserError if the topic does not exist, is empty, or its records are of no format that names itself;
    RegistryAway.
    """
    sampled = await sample(settings, topic, count)
    async with Registry(settings.sources) as registry:
        layout = await _layout(topic, sampled, registry)
        format_, encoding = layout["format"], layout.get("encoding", layout["format"])
        encoding = "json" if (format_, encoding) == ("debezium", "debezium") else encoding
        decoder = Decoder(Source(topic, format_, encoding, "confluent", ()), registry)
        values = [
            dict(decoded.value) for each in sampled if (decoded := await _decoded(decoder, each)) is not None
        ]
    if not values:
        raise UserError(f"none of {len(sampled)} records of {topic} can be decoded as {format_}")
    return draft(topic, layout, values, is_table=format_ == "debezium")


async def _decoded(decoder: Decoder, sampled: Sampled) -> Any:
    try:
        return await decoder.decode(sampled.record, sampled.partition)
    except RejectedEvent:
        return None


async def _layout(topic: str, sampled: Sequence[Sampled], registry: Registry) -> dict[str, Any]:
    """Return the format and encoding of the first record with a value."""
    first = next((value for each in sampled if (value := each.record.value)), None)
    if first is None:
        raise UserError(f"the sampled records of {topic} have no values")
    if first[0] == 0:
        try:
            encoding = _FORMATS[(await registry.schema(unframe(first).schema_id)).type]
        except (RejectedEvent, KeyError) as error:
            raise UserError(f"{topic}: {error}") from error
    elif first.lstrip()[:1] in (b"{", b"\xef"):
        encoding = "json"
    else:
        raise UserError(
            f"{topic} is neither JSON nor framed by a registry: write its source with a schema, "
            f"then try it with `segops sources test`"
        )
    probe = Source(topic, "json" if encoding == "json" else "avro", encoding, "confluent", ())
    decoded = [await _decoded(Decoder(probe, registry), each) for each in sampled[:10]]
    values = [each.value for each in decoded if each is not None]
    if any(value.get("payload", value).keys() >= _ENVELOPE for value in values if _is_object(value)):
        return {"format": "debezium", **({} if encoding == "json" else {"encoding": encoding})}
    return {"format": encoding}


def _is_object(value: Any) -> bool:
    return isinstance(value.get("payload", value), dict)
