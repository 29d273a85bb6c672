"""An application of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from segops.brokers import LocalBroker

from .kit import Stack


@pytest.fixture
def stack(broker: LocalBroker, topic_prefix: str, tmp_path: Path) -> Iterator[Stack]:
    """Topics, group and folders that no other test uses; its workers end with the test."""
    stack = Stack(broker.bootstrap_servers, topic_prefix, tmp_path)
    yield stack
    stack.stop()
