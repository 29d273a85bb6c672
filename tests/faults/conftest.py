"""Skip the fault tests on brokers that do not behave as Apache Kafka does."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def real_kafka(request: pytest.FixtureRequest) -> None:
    """Skip on the embedded broker: it never expires members and lists aborted transactions incorrectly."""
    needs_broker = request.node.get_closest_marker("broker") is not None
    if needs_broker and request.getfixturevalue("broker").kind == "embedded":
        pytest.skip("the embedded broker never expires group members")
