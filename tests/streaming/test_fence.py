"""The liveness fence."""

from __future__ import annotations

import pytest

from segops.core.errors import SegopsError
from segops.streaming.liveness.fence import LivenessFence

from .fakes import ManualClock


def test_suspended_process_is_fenced() -> None:
    time = ManualClock()
    fence = LivenessFence(40.0, time)
    time.now = 39.0
    fence.beat()
    time.now = 80.0
    with pytest.raises(SegopsError, match="41 s"):
        fence.check()
    with pytest.raises(SegopsError):
        fence.beat()  # a late beat does not lift the fence
