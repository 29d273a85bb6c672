"""Topics on a real broker are created, verified and refused with all their errors."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.admin import NewTopic

from segops import config
from segops.brokers import LocalBroker
from segops.core.errors import UserError
from segops.kafka import topics
from segops.kafka.clients import client_options, running_admin
from segops.kafka.topics import TopicState, topic_specs

pytestmark = pytest.mark.broker

NAMES = [
    "events",
    "control",
    "profile-events",
    "segments",
    "plans",
    "models",
    "audiences",
    "audit",
    "access-audit",
    "pulls",
    "sources",
    "tracking-plans",
    "violations",
    "budgets",
    "destinations",
    "targets",
    "routes",
    "told",
    "catalogue",
    "membership.changes",
    "membership.state",
    "indicators",
    "sizes",
    "trends",
    "alerts",
    "receipts",
    "quarantine",
    "scans",
    "dead-letters",
]
#: The ends of the names of topics with one partition.
SINGLE = ("segments", "plans", "audiences", "audit", "sources", "violations", "catalogue", "pulls", "alerts")
SINGLE += ("destinations", "budgets", "models")
#: The ends of the names of topics without retention.
COMPACTED = (
    "segments",
    "plans",
    "models",
    "audiences",
    "pulls",
    "sources",
    "tracking-plans",
    "destinations",
    "targets",
    "routes",
    "told",
    "catalogue",
    "membership.state",
    "indicators",
    "sizes",
    "alerts",
    "receipts",
    "quarantine",
    "changelog",
)


def settings_for(broker: LocalBroker, prefix: str, **topic_settings: object) -> config.Settings:
    return config.load(
        kafka={"bootstrap_servers": broker.bootstrap_servers},
        topics={"prefix": prefix, "partitions": 3, **topic_settings},
        worker={"app_id": f"{prefix}app"},
    )


@pytest.fixture
def settings(broker: LocalBroker, topic_prefix: str) -> config.Settings:
    return settings_for(broker, topic_prefix)


async def make(settings: config.Settings, name: str, partitions: int, **configs: str) -> None:
    async with running_admin(settings.kafka) as admin:
        await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs)])
    wanted = {name: partitions}
    async with asyncio.timeout(30):
        while True:
            try:
                if await topics.partition_counts(settings.kafka, [name]) == wanted:
                    return
            except UserError:
                await asyncio.sleep(0.05)


def test_missing_topics_are_created_once_as_specified(settings: config.Settings, topic_prefix: str) -> None:
    expected = {topic_prefix + name for name in NAMES} | {f"{topic_prefix}app-profiles-changelog"}
    assert set(asyncio.run(topics.create(settings))) == expected
    assert asyncio.run(topics.create(settings)) == []
    asyncio.run(topics.verify(settings))
    states = {state.spec.name: state for state in asyncio.run(topics.describe(settings))}
    assert set(states) == expected
    for name, state in states.items():
        single = name.endswith(SINGLE)
        assert state.partitions == (1 if single else 3)
        assert state.records == 0
        policies = set(state.configs["cleanup.policy"].split(","))
        wanted = {"compact", "delete"} if name.endswith(("trends", "scans")) else {"delete"}
        assert policies == ({"compact"} if name.endswith(COMPACTED) else wanted)
    assert states[f"{topic_prefix}trends"].configs["retention.ms"] == str(30 * 86_400_000)
    assert states[f"{topic_prefix}events"].configs["retention.ms"] == str(7 * 86_400_000)
    assert states[f"{topic_prefix}scans"].configs["retention.ms"] == str(86_400_000)


def test_workers_can_create_topics_concurrently(settings: config.Settings) -> None:
    async def race() -> list[list[str]]:
        return await asyncio.gather(*(topics.create(settings) for _ in range(4)))

    asyncio.run(race())
    asyncio.run(topics.verify(settings))


def test_verify_names_every_missing_topic_and_creates_none(
    settings: config.Settings, topic_prefix: str
) -> None:
    with pytest.raises(UserError) as caught:
        asyncio.run(topics.verify(settings))
    for name in NAMES:
        assert f"{topic_prefix}{name} does not exist" in str(caught.value)
    with pytest.raises(UserError, match=f"{topic_prefix}events"):
        asyncio.run(topics.partition_counts(settings.kafka, [f"{topic_prefix}events"]))


def test_wrong_partition_counts_are_refused_by_name(
    broker: LocalBroker, settings: config.Settings, topic_prefix: str
) -> None:
    asyncio.run(topics.create(settings))
    other = settings_for(broker, topic_prefix, partitions=5)
    for check in (topics.create, topics.verify):
        with pytest.raises(UserError) as caught:
            asyncio.run(check(other))
        lines = str(caught.value).splitlines()
        assert f"  {topic_prefix}events has 3 partition(s), expected 5" in lines
        assert f"  {topic_prefix}app-profiles-changelog has 3 partition(s), expected 5" in lines
        assert not any("segments" in line for line in lines)


def test_invalid_topic_prevents_creation_of_the_others(settings: config.Settings, topic_prefix: str) -> None:
    asyncio.run(make(settings, f"{topic_prefix}dead-letters", 1))
    with pytest.raises(UserError, match=r"dead-letters has 1 partition\(s\), expected 3"):
        asyncio.run(topics.create(settings))
    made = [state for state in asyncio.run(topics.describe(settings)) if state.partitions]
    assert [state.spec.name for state in made] == [f"{topic_prefix}dead-letters"]


def test_retention_on_a_state_topic_is_refused(settings: config.Settings, topic_prefix: str) -> None:
    asyncio.run(make(settings, f"{topic_prefix}segments", 1, **{"cleanup.policy": "delete"}))
    with pytest.raises(UserError, match=r"segments has cleanup.policy=delete, expected compact"):
        asyncio.run(topics.create(settings))


def test_too_high_replication_is_a_user_error(broker: LocalBroker, topic_prefix: str) -> None:
    with pytest.raises(UserError, match="SEGOPS_REPLICATION=9"):
        asyncio.run(topics.create(settings_for(broker, topic_prefix, replication=9)))


def test_unreachable_broker_is_named(topic_prefix: str) -> None:
    nowhere = config.load(kafka={"bootstrap_servers": "127.0.0.1:1"}, topics={"prefix": topic_prefix})
    for work in (topics.create, topics.verify, topics.describe):
        with pytest.raises(
            UserError, match=r"\(SEGOPS_KAFKA_BOOTSTRAP_SERVERS\): 127\.0\.0\.1:1: connection refused"
        ):
            asyncio.run(work(nowhere))


def test_three_replicas_survive_the_loss_of_one() -> None:
    specs = topic_specs(config.load(topics={"replication": 3}))
    assert {spec.configs["min.insync.replicas"] for spec in specs} == {"2"}
    assert not any("min.insync.replicas" in spec.configs for spec in topic_specs(config.load()))


def test_minutes_are_compacted_and_expire_after_a_time_of_their_own() -> None:
    (spec,) = (
        spec
        for spec in topic_specs(config.load(topics={"trends_retention_ms": "2d"}))
        if "trends" in spec.name
    )
    assert (spec.cleanup_policy, spec.configs["retention.ms"]) == ("compact,delete", str(2 * 86_400_000))
    for policy, problems in (("delete,compact", 0), ("compact", 1)):
        found = TopicState(spec, spec.partitions, 1, {"cleanup.policy": policy})
        assert len(list(found.problems())) == problems


def test_login_reaches_the_client_and_missing_certificate_is_named() -> None:
    login = {"security_protocol": "SASL_PLAINTEXT", "sasl_username": "u", "sasl_password": "p"}
    options = client_options(config.load(kafka=login).kafka)
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("u", "p")
    with pytest.raises(UserError, match="no-such-file"):
        client_options(config.load(kafka={"security_protocol": "SSL", "ssl_cafile": "no-such-file"}).kafka)
