"""The choice of a broker, without starting one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from segops.brokers import (
    KINDS,
    BrokerFailed,
    BrokerRequest,
    BrokerUnavailable,
    LocalBroker,
    PassedOver,
    choose,
)
from segops.brokers.base import KAFKA_VERSION
from segops.brokers.choice import _first
from segops.brokers.java import POM
from segops.brokers.jvm import Placement, server_properties
from segops.brokers.network import is_free, serving_nodes

ROOT = POM.parents[2]


class FakeKind:
    """A kind of broker whose behaviour the test sets."""

    def __init__(self, name: str, *, obstacle: str | None = None, failure: str | None = None) -> None:
        self.name, self._obstacle, self._failure = name, obstacle, failure

    def obstacle(self, request: BrokerRequest) -> str | None:
        return self._obstacle

    def start(self, request: BrokerRequest) -> LocalBroker:
        if self._failure:
            raise BrokerFailed(self._failure)
        return LocalBroker(self.name, f"the {self.name} one", "127.0.0.1:1")


def first(*kinds: FakeKind) -> LocalBroker:
    return _first(kinds, BrokerRequest(Path()))


def test_first_available_kind_is_chosen_and_the_others_are_explained():
    chosen = first(
        FakeKind("a", obstacle="not here"), FakeKind("b", failure="it broke"), FakeKind("c"), FakeKind("d")
    )
    assert chosen.kind == "c"
    assert chosen.passed_over == (PassedOver("a", "not here"), PassedOver("b", "it broke"))


def test_all_reasons_are_given_if_no_broker_is_available():
    with pytest.raises(BrokerUnavailable) as error:
        first(FakeKind("a", obstacle="not here"), FakeKind("b", failure="it broke"))
    assert "a: not here" in str(error.value)
    assert "b: it broke" in str(error.value)


def test_failure_of_a_preferred_kind_is_reported():
    with pytest.raises(BrokerFailed, match="it broke"):
        first(FakeKind("only", failure="it broke"))


def test_order_of_preference():
    assert [kind.name for kind in KINDS] == ["own", "docker", "jvm", "embedded"]


def test_external_broker_comes_first_and_is_not_managed():
    with choose(bootstrap_servers="kafka.example:9092") as broker:
        assert (broker.kind, broker.bootstrap_servers) == ("own", "kafka.example:9092")
        assert (broker.nodes, broker.passed_over) == ((), ())


@pytest.mark.parametrize(
    ("options", "message"), [({"prefer": "rabbit"}, "rabbit"), ({"brokers": 2}, "1 or 3")]
)
def test_unsatisfiable_requests_are_rejected(options, message):
    with pytest.raises(BrokerUnavailable, match=message):
        choose(**options)


def test_obstacles_are_returned_not_raised():
    for kind in KINDS:
        for brokers in (1, 3):
            assert kind.obstacle(BrokerRequest(Path("/nowhere"), brokers)) != ""


def test_cluster_replicates_its_topics_and_listens_on_loopback():
    placements = [Placement(i, 9000 + i, 9100 + i, Path(f"node-{i}")) for i in (1, 2, 3)]
    settings = server_properties(placements[1], placements)
    assert settings["controller.quorum.voters"] == "1@127.0.0.1:9101,2@127.0.0.1:9102,3@127.0.0.1:9103"
    assert settings["listeners"] == "PLAINTEXT://127.0.0.1:9002,CONTROLLER://127.0.0.1:9102"
    assert settings["offsets.topic.replication.factor"] == "3"
    assert settings["transaction.state.log.min.isr"] == settings["min.insync.replicas"] == "2"


def test_single_broker_has_no_replicas():
    place = Placement(1, 9001, 9101, Path("node-1"))
    settings = server_properties(place, [place])
    assert {
        v for k, v in settings.items() if k.endswith(("replication.factor", "min.isr", "insync.replicas"))
    } == {"1"}


def test_reserved_ports_are_distinct_and_unused(reserve):
    ports = reserve(5)
    assert len({*ports}) == 5
    assert all(is_free(port) for port in ports)
    assert serving_nodes(ports[0]) == frozenset()


def test_kafka_version_is_the_same_everywhere():
    compose = yaml.safe_load((ROOT / "docker-compose.kafka.yml").read_text())
    (pom_version,) = re.findall(r"<kafka\.version>(.*)</kafka\.version>", POM.read_text())
    assert compose["services"]["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"
    assert pom_version == KAFKA_VERSION


def test_compose_file_publishes_on_loopback_only():
    compose = yaml.safe_load((ROOT / "docker-compose.kafka.yml").read_text())
    assert all(port.startswith("127.0.0.1:") for port in compose["services"]["kafka"]["ports"])
    assert compose["services"]["kafka"]["healthcheck"]["test"][0] == "CMD"
