"""Input positions, committed by checkpoints and restored by assignments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

LogPartition = tuple[str, int]
"""A topic and a partition."""


class CommittedPosition(NamedTuple):
    """The next offset to read in a partition, and the metadata committed with it."""

    offset: int
    metadata: str


Positions = Mapping[LogPartition, CommittedPosition]
