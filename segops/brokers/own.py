"""The user's own broker: neither started nor stopped here."""

from __future__ import annotations

from segops.brokers.base import BrokerRequest, LocalBroker


class Own:
    """The user's own Kafka, named by SEGOPS_KAFKA_BOOTSTRAP_SERVERS."""

    name = "own"

    def obstacle(self, request: BrokerRequest) -> str | None:
        return None if request.bootstrap_servers else "SEGOPS_KAFKA_BOOTSTRAP_SERVERS is not set"

    def start(self, request: BrokerRequest) -> LocalBroker:
        servers = request.bootstrap_servers or ""
        return LocalBroker(kind=self.name, name=f"your own Kafka at {servers}", bootstrap_servers=servers)
