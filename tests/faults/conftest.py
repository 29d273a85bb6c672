"""Faults need a Kafka that misses the dead."""

from __future__ import annotations

import pytest

from segops.brokers import LocalBroker


@pytest.fixture(autouse=True)
def real_kafka(broker: LocalBroker) -> None:
    """Skip on the embedded broker: it never expires a member, and lists aborted transactions wrongly."""
    if broker.kind == "embedded":
        pytest.skip("the embedded broker misses nobody who is gone")
