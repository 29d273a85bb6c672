"""The application's topics: their specification, creation and verification."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    InvalidReplicationFactorError,
    NoError,
    PolicyViolationError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)

from segops.config import OWN_FORMAT, KafkaSettings, Settings
from segops.core.errors import SegopsError, UserError
from segops.kafka.clients import running_admin, running_consumer
from segops.kafka.deadlines import within

_READY_TIMEOUT_S: Final = 30.0
_READY_POLL_S: Final = 0.05

#: Kafka never compacts the active log segment: small segments keep recovery short.
_COMPACTED: Final = {"cleanup.policy": "compact", "segment.bytes": str(64 << 20)}
#: Only the latest answer of a partition counts, and that for no longer than someone may wait for it.
_ANSWERS: Final = {**_COMPACTED, "cleanup.policy": "compact,delete", "retention.ms": str(86_400_000)}
#: Nothing is compacted or deleted.
_KEPT: Final = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as the application requires it; ``holds`` says what it contains."""

    name: str
    partitions: int
    replication: int
    configs: Mapping[str, str]
    holds: str

    @property
    def cleanup_policy(self) -> str:
        """``delete``, ``compact`` or ``compact,delete``."""
        return self.configs["cleanup.policy"]


@dataclass(frozen=True, slots=True)
class TopicState:
    """The actual state of a topic; ``partitions`` is 0 if it does not exist."""

    spec: TopicSpec
    partitions: int = 0
    replication: int = 0
    configs: Mapping[str, str] = field(default_factory=dict)
    records: int | None = None
    has_leaders: bool = False

    def problems(self) -> Iterator[str]:
        """Yield every reason why this topic is unusable."""
        name, wanted = self.spec.name, self.spec
        if not self.partitions:
            yield f"{name} does not exist: run `segops topics create`"
            return
        if self.partitions != wanted.partitions:
            yield f"{name} has {self.partitions} partition(s), expected {wanted.partitions}"
        policy = self.configs.get("cleanup.policy", wanted.cleanup_policy)
        if set(policy.split(",")) != set(wanted.cleanup_policy.split(",")):
            yield f"{name} has cleanup.policy={policy}, expected {wanted.cleanup_policy}"


def topic_specs(settings: Settings) -> list[TopicSpec]:
    """Return the specification of every topic, including the profile store's changelog."""
    topics = settings.topics
    retained = {"cleanup.policy": "delete", "retention.ms": str(topics.retention_ms)}
    trends = {"cleanup.policy": "compact,delete", "retention.ms": str(topics.trends_retention_ms)}
    history = {**retained, "retention.ms": str(topics.history_ms)}
    #: Every record remains for the readers of the topic, then the latest one of each alert.
    alerts = {"min.compaction.lag.ms": str(topics.retention_ms)}
    #: Limits have spans of up to 31 days.
    budgets = {**retained, "retention.ms": str(32 * 86_400_000)}
    audit = {**retained, "retention.ms": str(settings.console.audit_retention_ms)}
    safe = {"min.insync.replicas": "2"} if topics.replication >= 3 else {}

    def spec(
        name: str, configs: Mapping[str, str], holds: str, partitions: int = topics.partitions
    ) -> TopicSpec:
        return TopicSpec(name, partitions, topics.replication, {**configs, **safe}, holds)

    return [
        spec(topics.events, retained, "raw events"),
        spec(topics.control, retained, "requests to erase, to split and to scan"),
        spec(topics.profile_events, history, "events by profile, and ticks"),
        spec(topics.segments, _COMPACTED, "segment definitions", 1),
        spec(topics.plans, _COMPACTED, "plans, and how they ended", 1),
        spec(topics.models, _COMPACTED, "versions of scoring models", 1),
        spec(topics.audiences, _COMPACTED, "audiences and their states", 1),
        spec(topics.audit, _KEPT, "what was done to audiences", 1),
        spec(topics.access_audit, audit, "what people did and read in the console", 1),
        spec(topics.destinations, _COMPACTED, "who receives audiences", 1),
        spec(topics.budgets, budgets, "what may be sent to destinations", 1),
        spec(topics.targets, _COMPACTED, "what audiences want destinations to know"),
        spec(topics.routes, _COMPACTED, "at which addresses profiles are targets"),
        spec(topics.told, _COMPACTED, "what destinations were told"),
        spec(topics.sources, _COMPACTED, "topics that are mapped to events", 1),
        spec(topics.tracking_plans, _COMPACTED, "tracking plans of sources", 1),
        spec(topics.violations, retained, "violations of tracking plans", 1),
        spec(topics.catalogue, _COMPACTED, "events and properties that occur", 1),
        spec(topics.pulls, _COMPACTED, "how far pulls have come", 1),
        spec(topics.membership_changes, retained, "every membership change"),
        spec(topics.membership_state, _COMPACTED, "latest change per profile and segment"),
        spec(topics.indicators, _COMPACTED, "latest value per profile and indicator"),
        spec(topics.sizes, _COMPACTED, "sizes of segments"),
        spec(topics.trends, _COMPACTED | trends, "minutes of segments"),
        spec(topics.alerts, _COMPACTED | alerts, "alerts of segments", 1),
        spec(topics.receipts, _COMPACTED, "what was erased"),
        spec(topics.quarantine, _COMPACTED, "profiles that cannot be read"),
        spec(topics.scans, _ANSWERS, "answers to scans"),
        *_output_specs(settings, spec),
        spec(topics.dead_letters, retained, "refused input"),
        spec(settings.worker.changelog, _COMPACTED, "profiles, to rebuild a store from"),
    ]


def _output_specs(
    settings: Settings, spec: Callable[[str, Mapping[str, str], str], TopicSpec]
) -> list[TopicSpec]:
    """Return the topics of the output's format; there are none for the form of the membership topics."""
    topics, form = settings.topics, settings.output.format
    if form == OWN_FORMAT:
        return []
    retention = str(topics.retention_ms)
    #: A consumer that was stopped for this long still sees what was deleted.
    memberships = {**_COMPACTED, "delete.retention.ms": retention}
    changes = {"cleanup.policy": "delete", "retention.ms": retention}
    return [
        spec(topics.output_memberships(form), memberships, f"latest change per profile and segment, {form}"),
        spec(topics.output_changes(form), changes, f"every membership change, {form}"),
    ]


async def create(settings: Settings) -> list[str]:
    """Create the missing topics and return their names.

    Raises UserError, creating nothing, when an existing topic is unusable or no broker answers.
    """
    async with running_admin(settings.kafka) as admin:
        specs = topic_specs(settings)
        states = await _describe(admin, specs)
        _check(state for state in states if state.partitions)
        missing = [state.spec for state in states if not state.partitions]
        if missing:
            await _create(admin, missing)
            states = await _wait_for_leaders(admin, specs)  # the next broker asked may not know them yet
        _check(states)
    return [spec.name for spec in missing]


async def verify(settings: Settings) -> None:
    """Raise UserError naming every topic that is missing or differs in partitions or clean-up policy."""
    async with running_admin(settings.kafka) as admin:
        _check(await _describe(admin, topic_specs(settings)))


async def problems(settings: Settings) -> list[str]:
    """Return what is wrong with the topics now. Raises UserError when no broker is reachable."""
    async with running_admin(settings.kafka) as admin:
        states = await _describe(admin, topic_specs(settings))
    return [problem for state in states for problem in state.problems()]


async def describe(settings: Settings) -> list[TopicState]:
    """Return the state of all topics, with the number of offsets in each as ``records``."""
    async with running_admin(settings.kafka) as admin:
        states = await _describe(admin, topic_specs(settings))
    counts = await _count_records(settings.kafka, states)
    return [
        TopicState(s.spec, s.partitions, s.replication, s.configs, counts.get(s.spec.name), s.has_leaders)
        for s in states
    ]


async def partition_counts(
    kafka: KafkaSettings, names: Sequence[str], *, optional: Sequence[str] = ()
) -> dict[str, int]:
    """Return the number of partitions of each topic, without those of the ``optional`` ones that are missing.

    Raises UserError naming the other missing ones.
    """
    counts = await existing(kafka)
    wanted = [name for name in names if name not in optional or counts.get(name)]
    _check_existing(wanted, counts)
    return {name: counts[name] for name in wanted}


def _check_existing(names: Sequence[str], counts: Mapping[str, int]) -> None:
    missing = [name for name in names if not counts.get(name)]
    if missing:
        raise UserError(
            f"missing topics: {', '.join(missing)} (`segops topics create` creates those of the application)"
        )


async def single_partition(kafka: KafkaSettings, name: str) -> TopicPartition:
    """Return the one partition of a topic. Raises UserError if it is missing or has more."""
    return require_single(name, await existing(kafka))


def require_single(name: str, counts: Mapping[str, int]) -> TopicPartition:
    """Return the one partition of a topic, given the partitions of all topics. Raises like the former."""
    _check_existing([name], counts)
    if counts[name] != 1:
        raise UserError(f"the topic {name} has {counts[name]} partitions, expected 1")
    return TopicPartition(name, 0)


async def existing(kafka: KafkaSettings) -> dict[str, int]:
    """Return the number of partitions of every topic on the brokers. Raises Unreachable."""
    async with running_admin(kafka) as admin:
        return {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}


def _check(states: Iterable[TopicState]) -> None:
    problems = [problem for state in states for problem in state.problems()]
    if problems:
        raise UserError(
            "unusable topics:\n"
            + "\n".join(f"  {problem}" for problem in problems)
            + "\n(expected by SEGOPS_PARTITIONS, SEGOPS_TOPIC_PREFIX and SEGOPS_APP_ID)"
        )


async def _describe(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]) -> list[TopicState]:
    # Describe all topics: naming them would make a broker with auto-creation create them.
    found = {topic["topic"]: topic for topic in await admin.describe_topics() if not topic["error_code"]}
    configs = await _configs(admin, [spec.name for spec in specs if spec.name in found])
    return [_state(spec, found.get(spec.name), configs.get(spec.name, {})) for spec in specs]


def _state(
    spec: TopicSpec, found: Mapping[str, list[dict[str, object]]] | None, configs: dict[str, str]
) -> TopicState:
    if found is None:
        return TopicState(spec)
    partitions = found["partitions"]
    replicas = partitions[0]["replicas"] if partitions else []
    return TopicState(
        spec,
        partitions=len(partitions),
        replication=len(replicas) if isinstance(replicas, list) else 0,
        configs=configs,
        has_leaders=all(
            not partition["error_code"] and partition["leader"] != -1 for partition in partitions
        ),
    )


async def _configs(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    return {
        name: {entry[0]: entry[1] for entry in entries}
        for response in await admin.describe_configs(asked)
        for code, _message, _type, name, entries in response.resources
        if not code
    }


async def _create(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]) -> None:
    wanted = [NewTopic(s.name, s.partitions, s.replication, topic_configs=dict(s.configs)) for s in specs]
    response = await admin.create_topics(wanted)
    failed = {name: (for_code(code), *detail) for name, code, *detail in response.topic_errors}
    for name, (error, *detail) in failed.items():
        if error not in (NoError, TopicAlreadyExistsError):  # another worker may have been first
            raise _not_created(name, error, " ".join(filter(None, detail)), specs)


def _not_created(name: str, error: type[Exception], detail: str, specs: Sequence[TopicSpec]) -> SegopsError:
    text = f"cannot create the topic {name}: {error.__name__}"
    if error is InvalidReplicationFactorError:
        return UserError(
            f"{text}: SEGOPS_REPLICATION={specs[0].replication} requires as many brokers. {detail}"
        )
    if error in (TopicAuthorizationFailedError, PolicyViolationError):
        return UserError(f"{text} {detail}")
    return SegopsError(f"{text} {detail}")


async def _wait_for_leaders(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]) -> list[TopicState]:
    """Return the topics once every partition has a leader: a new topic reaches the brokers one by one."""
    try:
        async with within(_READY_TIMEOUT_S) as check:
            while True:
                states = await _describe(admin, specs)
                if all(state.has_leaders for state in states):
                    return states
                await asyncio.sleep(_READY_POLL_S)
                check()
    except TimeoutError:
        raise SegopsError(f"topics have no leader {_READY_TIMEOUT_S:.0f} s after their creation") from None


async def _count_records(kafka: KafkaSettings, states: Sequence[TopicState]) -> dict[str, int]:
    partitions = [TopicPartition(s.spec.name, p) for s in states for p in range(s.partitions)]
    if not partitions:
        return {}
    async with running_consumer(kafka) as consumer:
        first, end = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
    counts = dict.fromkeys((partition.topic for partition in partitions), 0)
    for partition in partitions:
        counts[partition.topic] += end[partition] - first[partition]
    return counts
