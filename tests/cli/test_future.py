"""``segops produce --final-tick`` never advances a clock into the future without ``--beyond-now``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segops import config
from segops.core.values import format_instant
from segops.wall_clock import wall_ms

Run = Callable[..., Any]

HOUR_MS = 3_600_000
REFUSED = "is in the future"
NO_BROKER = "unknown host name"


@pytest.mark.parametrize(
    ("clock", "tick", "options", "message"),
    [
        ("wall", "9999-01-01", [], f"{REFUSED}: with SEGOPS_CLOCK=wall, ticks cannot advance time"),
        (
            "wall",
            "9999-01-01",
            ["--beyond-now"],
            f"{REFUSED}: with SEGOPS_CLOCK=wall, ticks cannot advance time",
        ),
        ("wall", "+1h", [], REFUSED),
        ("wall", "+1m", [], NO_BROKER),  # clocks are never quite equal: SEGOPS_MAX_EVENT_AHEAD
        ("wall", "-1h", [], NO_BROKER),
        ("event", "9999-01-01", [], f"{REFUSED}: clocks never go back"),
        ("event", "+1h", [], "pass --beyond-now to allow it"),
        ("event", "+1h", ["--beyond-now"], NO_BROKER),
        ("event", "-1h", [], NO_BROKER),
    ],
)
def test_a_future_tick_is_rejected_before_anything_is_sent(
    segops: Run,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    clock: str,
    tick: str,
    options: list[str],
    message: str,
) -> None:
    for name, _, _ in config.variables():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SEGOPS_CLOCK", clock)
    # An invalid setting, because the command would wait for a broker that is down.
    monkeypatch.setenv("SEGOPS_KAFKA_BOOTSTRAP_SERVERS", "no-such-host.invalid:9092")
    (tmp_path / "events.jsonl").write_text('{"userId": "u"}\n')
    offsets = {"+1h": HOUR_MS, "+1m": 60_000, "-1h": -HOUR_MS}
    instant = format_instant(wall_ms() + offsets[tick]) if tick in offsets else tick
    done = segops("produce", tmp_path / "events.jsonl", "--final-tick", instant, *options)
    assert (done.status, done.out) == (2, "")
    assert message in done.err
