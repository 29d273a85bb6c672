"""Segment's and RudderStack's SDKs for Node.js, unchanged, deliver through the collector."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from segops.core.values import parse_instant
from tests.rest import rest

from .helpers import KEY, NOW, Collector, serve
from .npm import installed

PACKAGES = ("@segment/analytics-node@3.1.0", "@rudderstack/rudder-sdk-node@3.0.13")
KINDS = {"identify": 1, "track": 120, "page": 1, "screen": 1, "group": 1, "alias": 1}


@rest
@pytest.mark.parametrize("sdk", ["segment", "rudder"])
def test_node_sdk_delivers_every_call(sdk: str) -> None:
    modules = installed(*PACKAGES)

    async def steps(collector: Collector) -> None:
        script = Path(__file__).with_name("node_sdks.js")
        process = await asyncio.create_subprocess_exec(
            "node",
            str(script),
            sdk,
            f"http://127.0.0.1:{collector.port}",
            KEY,
            env={**os.environ, "NODE_PATH": str(modules)},
            stderr=subprocess.PIPE,
        )
        _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        assert collector.letters == []
        kinds = [event["type"] for event in collector.events]
        assert {kind: kinds.count(kind) for kind in KINDS} == KINDS
        tracks = [event for event in collector.events if event["type"] == "track"]
        assert {event["properties"]["sku"] for event in tracks} == {f"s{n}" for n in range(120)}
        assert len({event["messageId"] for event in collector.events}) == 125
        assert {event["originalTimestamp"] for event in tracks} == {"2026-03-01T10:00:00.000Z"}
        for event in tracks:  # the collector's clock of this test is not that of the SDK
            ms = {name: parse_instant(event[name]) for name in ("timestamp", "sentAt", "originalTimestamp")}
            assert ms["timestamp"] == parse_instant(NOW) - ms["sentAt"] + ms["originalTimestamp"]

    serve(steps)
