"""``segops replay`` by the kernel prints what it prints without: a share of ``make fuzz-kernel``."""

from __future__ import annotations

import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings

from segops.cli.replay import begun, run
from segops.core.segments import SegmentSet
from segops.core.values import format_instant
from segops.kernel import found
from segops.native_replay import NativeReplay
from segops.replay import Replay
from segops.schemas.identifying import DEFAULT
from segops.testing import definition
from tests.core.strategies import BASE_MS, streams
from tests.core.test_equivalence import segment_sets
from tests.kernel import plain_cases
from tests.kernel.people import DEVICES
from tests.kernel.replays import assert_replays_agree

pytestmark = pytest.mark.skipif(found()[0] is None, reason="the kernel is not built")


@pytest.mark.parametrize("seed", range(12))
def test_rules_of_the_kernel(seed: int) -> None:
    rng = Random(seed)
    segments, steps = plain_cases.segments(rng), plain_cases.steps(rng)
    assert_replays_agree(segments, steps, plain_cases.segments(rng) if seed % 3 == 0 else None)


@settings(max_examples=8)
@given(segment_sets(), streams())
def test_any_rules(segments: SegmentSet, steps: list[tuple[str, Any]]) -> None:
    assert_replays_agree(segments, steps)


def test_the_kernel_applies_what_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equality alone would also hold if Python did everything."""
    monkeypatch.setenv("SEGOPS_KERNEL", "require")
    events = [
        {"type": "track", "event": "A", "timestamp": format_instant(BASE_MS + n), **DEVICES[n % 8]}
        for n in range(200)
    ]
    path = tmp_path / "events.jsonl"
    path.write_text("\n".join(map(json.dumps, events)))
    replay = begun(SegmentSet([definition("s", {"did": "A", "count": {"gte": 3}, "within": "1m"})]), DEFAULT)
    monkeypatch.setattr(Replay, "apply", None)  # Python applies nothing
    with redirect_stdout(StringIO()) as out:
        run(replay, path, None, until=BASE_MS + 3_600_000)
    assert isinstance(replay, NativeReplay)
    assert (replay.profiles, replay.events) == ({}, 200)
    assert out.getvalue().count("\n") == 8
