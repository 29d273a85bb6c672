"""Local Kafka brokers for the demo, the tests and a developer's machine: one port, four kinds.

The order of choice is also the order of trust: a user's own broker, Apache Kafka in Docker, Apache Kafka on
the JVM, and an embedded stand-in which needs nothing but Python. A broker which is started here listens on
loopback only, keeps its data and logs below one folder, and does not outlive its ``with`` block.
"""

from segops.brokers.base import (
    BrokerFailed,
    BrokerRequest,
    BrokerUnavailable,
    Kind,
    LocalBroker,
    Node,
    PassedOver,
)
from segops.brokers.choice import KINDS, choose, obstacle

__all__ = [
    "KINDS",
    "BrokerFailed",
    "BrokerRequest",
    "BrokerUnavailable",
    "Kind",
    "LocalBroker",
    "Node",
    "PassedOver",
    "choose",
    "obstacle",
]
