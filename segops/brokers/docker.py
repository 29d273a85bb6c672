"""Apache Kafka's official image on a Docker engine. Its data exists only as long as the container."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module, util
from pathlib import Path
from typing import Any

from segops.brokers.base import KAFKA_VERSION, BrokerFailed, BrokerRequest, LocalBroker
from segops.brokers.network import LOOPBACK, reserve_ports, serving_nodes, wait_for

IMAGE = f"apache/kafka:{KAFKA_VERSION}"
_DEFAULT_SOCKET = Path("/var/run/docker.sock")
_PING_S = 2
_START_S = 60.0


@dataclass
class ContainerNode:
    """A broker in a container; ``container`` is the Docker client's object."""

    container: Any
    port: int

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    @property
    def alive(self) -> bool:
        self.container.reload()
        return self.container.status in ("running", "paused")

    def start(self) -> None:
        self.container.start()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Return once the broker answers. Raises BrokerFailed."""
        if not wait_for(lambda: bool(serving_nodes(self.port)), within_s=_START_S):
            tail = self.container.logs(tail=15).decode(errors="replace")
            raise BrokerFailed(f"{IMAGE} did not start; end of its log:\n{tail}")

    def stop(self) -> None:
        self.container.stop()

    def kill(self) -> None:
        self.container.kill()

    def pause(self) -> None:
        self.container.pause()

    def resume(self) -> None:
        self.container.unpause()


class Docker:
    """One broker in a container, which testcontainers removes even when this process is killed."""

    name = "docker"

    def obstacle(self, request: BrokerRequest) -> str | None:
        if request.brokers != 1:
            return "a cluster in Docker is not supported"
        if util.find_spec("testcontainers") is None or util.find_spec("docker") is None:
            return "the testcontainers package is not installed (extra 'test')"
        return None if _engine_answers() else "no Docker engine answers"

    def start(self, request: BrokerRequest) -> LocalBroker:
        from testcontainers.core.container import DockerContainer  # takes a second to import, rarely needed

        with reserve_ports(1, request.port) as (port,):
            pass  # release it: Docker's proxy may not be able to listen on a reserved port
        holder: Any = DockerContainer(IMAGE).with_envs(**_settings(port))
        holder.ports[f"{port}/tcp"] = (LOOPBACK, port)  # its own method can only bind all addresses
        try:
            node = ContainerNode(holder.start().get_wrapped_container(), port)
            node.wait_ready()
        except BaseException as error:
            holder.stop()
            if isinstance(error, Exception) and not isinstance(error, BrokerFailed):
                raise BrokerFailed(f"cannot run {IMAGE}: {error}") from error
            raise
        name = f"apache-kafka {KAFKA_VERSION} (docker)"
        return LocalBroker(self.name, name, node.address, nodes=(node,), on_stop=[holder.stop])


def _engine_answers() -> bool:
    try:
        docker = import_module("docker")
        # The client leaks a socket when no engine answers, so check the default socket first.
        if "base_url" not in docker.utils.kwargs_from_env() and not _DEFAULT_SOCKET.exists():
            return False
        client = docker.from_env(timeout=_PING_S)
        try:
            return bool(client.ping())
        finally:
            client.close()
    except Exception:  # any failure means that the engine is unusable
        return False


def _settings(port: int) -> Mapping[str, str]:
    return {
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_NODE_ID": "1",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENERS": f"PLAINTEXT://0.0.0.0:{port},CONTROLLER://localhost:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://{LOOPBACK}:{port}",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "KAFKA_INTER_BROKER_LISTENER_NAME": "PLAINTEXT",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    }
