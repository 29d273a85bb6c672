"""A broker that somebody else runs: used as it is, never stopped."""

from __future__ import annotations

from segops.brokers.base import LocalBroker, Request


class Own:
    """The user's own Kafka, named by SEGOPS_KAFKA_BOOTSTRAP_SERVERS."""

    name = "own"

    def obstacle(self, request: Request) -> str | None:
        return None if request.bootstrap_servers else "SEGOPS_KAFKA_BOOTSTRAP_SERVERS is not set"

    def start(self, request: Request) -> LocalBroker:
        servers = request.bootstrap_servers or ""
        return LocalBroker(kind=self.name, name=f"your own Kafka at {servers}", bootstrap_servers=servers)
