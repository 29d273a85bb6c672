"""Local Kafka brokers for the demo, the tests and development: one interface, four kinds.

The kinds in order of preference: the user's own broker, Apache Kafka in Docker, Apache Kafka on the JVM, and
an embedded stand-in that needs only Python. A broker started here listens on loopback only, keeps its data
and logs in one folder, and does not outlive its ``with`` block.
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
