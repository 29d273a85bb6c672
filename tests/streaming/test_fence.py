"""The liveness fence."""

from __future__ import annotations

import pytest

from segops.core.errors import SegopsError
from segops.streaming.liveness.fence import LivenessFence
from segops.testing import FakeClock


def test_suspended_process_is_fenced() -> None:
    clock = FakeClock()
    fence = LivenessFence(40.0, clock.seconds)
    clock.now_ms = 39_000
    fence.beat()
    clock.now_ms = 80_000
    with pytest.raises(SegopsError, match="41 s"):
        fence.check()
    with pytest.raises(SegopsError):
        fence.beat()  # a late beat does not lift the fence
