"""Skip the fault tests on brokers that do not behave as Apache Kafka does."""

from __future__ import annotations

import pytest

from segops.brokers import LocalBroker


@pytest.fixture(autouse=True)
def real_kafka(broker: LocalBroker) -> None:
    """Skip on the embedded broker: it never expires members and lists aborted transactions incorrectly."""
    if broker.kind == "embedded":
        pytest.skip("the embedded broker never expires group members")
