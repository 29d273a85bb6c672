"""Positions in the input: what a checkpoint commits and an assignment begins with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

LogPartition = tuple[str, int]
"""A topic and a partition."""


class CommittedPosition(NamedTuple):
    """Where to go on in a partition, and what to keep with that."""

    offset: int
    metadata: str


Positions = Mapping[LogPartition, CommittedPosition]
