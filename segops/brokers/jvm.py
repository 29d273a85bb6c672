"""Apache Kafka without Docker: KRaft in combined mode, on loopback, from Maven Central's jars."""

from __future__ import annotations

import base64
import shutil
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from segops.brokers.base import KAFKA_VERSION, BrokerFailed, BrokerRequest, BrokerUnavailable, LocalBroker
from segops.brokers.folder import start_in
from segops.brokers.java import OLDEST_JAVA, POM, fetch_jars, find_java, jar_folder
from segops.brokers.network import LOOPBACK, reserve_ports
from segops.brokers.process import ProcessNode, start_all, stop_all

_BROKER_JVM = ("-Xmx512m", "-XX:+UseSerialGC", "-Djava.net.preferIPv4Stack=true", "-Djava.awt.headless=true")
_TOOL_JVM = ("-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_LOGGING = """\
rootLogger.level = INFO
rootLogger.appenderRef.out.ref = out
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %-5p %c{1}: %m%n
"""


@dataclass(frozen=True, slots=True)
class Placement:
    """The ports and the folder of node ``node_id`` of a cluster."""

    node_id: int
    port: int
    controller_port: int
    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "server.properties"


class Jvm:
    """Real Kafka: rebalances, transactions, compaction, retention, and one or three brokers."""

    name = "jvm"

    def obstacle(self, request: BrokerRequest) -> str | None:
        if not POM.is_file():
            return "missing deploy/kafka/pom.xml: this kind requires a checkout of the repository"
        if find_java() is None:
            return f"no Java {OLDEST_JAVA} or newer (extra 'java')"
        if not jar_folder().is_dir() and shutil.which("mvn") is None:
            return "Maven (mvn) is not installed; it is needed once, to fetch Apache Kafka"
        return None

    def start(self, request: BrokerRequest) -> LocalBroker:
        return start_in(request, self.name, partial(self._start, request))

    def _start(self, request: BrokerRequest, lock: int) -> LocalBroker:
        java = find_java()
        if java is None:
            raise BrokerUnavailable(f"no Java {OLDEST_JAVA} or newer")
        classpath = f"{fetch_jars(java)}/*"
        storage_tool = [java, *_TOOL_JVM, "-cp", classpath, "kafka.tools.StorageTool"]
        with ExitStack() as undo:
            cluster = _placements(request, undo)
            _prepare(storage_tool, request.data_dir, cluster)
            nodes = [_node([java, *_BROKER_JVM, "-cp", classpath], node, lock) for node in cluster]
            start_all(nodes)
            ports = undo.pop_all()
        return LocalBroker(
            kind=self.name,
            name=f"apache-kafka {KAFKA_VERSION} (jvm{', 3 brokers' if len(nodes) == 3 else ''})",
            bootstrap_servers=",".join(node.address for node in nodes),
            nodes=tuple(nodes),
            on_stop=[lambda: stop_all(nodes), ports.close],
        )


def server_properties(node: Placement, cluster: Sequence[Placement]) -> Mapping[str, str]:
    """Return the properties of one node. Every replication factor is the size of the cluster."""
    size, in_sync = str(len(cluster)), str(max(1, len(cluster) - 1))
    return {
        "process.roles": "broker,controller",
        "node.id": str(node.node_id),
        "controller.quorum.voters": ",".join(f"{p.node_id}@{LOOPBACK}:{p.controller_port}" for p in cluster),
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{LOOPBACK}:{node.port},CONTROLLER://{LOOPBACK}:{node.controller_port}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{node.port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(node.folder / "data"),
        "auto.create.topics.enable": "false",
        # __consumer_offsets has no setting of its own for this. With 1, its partitions have no leader while a
        # whole cluster starts, and Kafka then skips them when it ends a transaction: it commits the outputs
        # of that transaction, but not its offsets.
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": size,
        "transaction.state.log.replication.factor": size,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": size,
        "share.coordinator.state.topic.min.isr": in_sync,
        **_SMALL_AND_QUICK,
    }


#: For a laptop: few internal partitions, no initial rebalance delay, quick detection of failures.
_SMALL_AND_QUICK: Mapping[str, str] = {
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "broker.heartbeat.interval.ms": "1000",
    "broker.session.timeout.ms": "6000",
    "controlled.shutdown.retry.backoff.ms": "500",
    "log.cleaner.dedupe.buffer.size": str(32 * 1024 * 1024),
    "log.cleaner.backoff.ms": "1000",
    "num.network.threads": "2",
    "num.io.threads": "4",
}


def _placements(request: BrokerRequest, undo: ExitStack) -> list[Placement]:
    """Assign ports and folders to the nodes; the ports stay reserved until ``undo`` is closed."""
    root, count = request.data_dir.resolve() / Jvm.name, request.brokers
    found = len(list(root.glob("node-*")))
    if found not in (0, count):
        raise BrokerUnavailable(f"{root} holds a cluster of {found}, not {count}; use another data folder")
    ports = undo.enter_context(reserve_ports(count, request.port))
    controllers = undo.enter_context(reserve_ports(count))
    return [Placement(i + 1, ports[i], controllers[i], root / f"node-{i + 1}") for i in range(count)]


def _node(java: Sequence[str], node: Placement, lock: int) -> ProcessNode:
    logging = f"-Dlog4j2.configurationFile={node.folder / 'log4j2.properties'}"
    return ProcessNode(
        command=[*java, logging, "kafka.Kafka", str(node.config)],
        port=node.port,
        folder=node.folder,
        log=node.folder / "broker.log",
        node_id=node.node_id,
        lock=lock,
    )


def _prepare(storage_tool: Sequence[str], data_dir: Path, cluster: Sequence[Placement]) -> None:
    """Write every node's properties and format its storage unless it is already formatted."""
    for node in cluster:
        node.folder.mkdir(parents=True, exist_ok=True)
        properties = server_properties(node, cluster).items()
        node.config.write_text("".join(f"{name}={value}\n" for name, value in properties))
        (node.folder / "log4j2.properties").write_text(_LOGGING)
    cluster_id = _cluster_id(data_dir.resolve() / Jvm.name / "cluster-id")
    identity = ["format", "--ignore-formatted", "-t", cluster_id]
    fresh = [node for node in cluster if not (node.folder / "data" / "meta.properties").is_file()]
    _format([[*storage_tool, *identity, "-c", str(node.config)] for node in fresh])


def _format(commands: Sequence[Sequence[str]]) -> None:
    tools = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # noqa: S603
        for command in commands
    ]
    results = [(tool.communicate()[0], tool.returncode) for tool in tools]
    failed = [output for output, code in results if code]
    if failed:
        raise BrokerFailed(f"Kafka failed to format its storage:\n{failed[0].strip()[-1_500:]}")


def _cluster_id(file: Path) -> str:
    if not file.is_file():
        # Kafka's id format. The leading A avoids ids that look like an option, which the tool rejects.
        file.write_text("A" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22])
    return file.read_text().strip()
