"""Segment's and RudderStack's SDKs for Python, unchanged, deliver through the collector to a real broker."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from typing import Any

import pytest
import rudderstack.analytics.client
import segment.analytics.client

from tests.streaming.conftest import stack
from tests.streaming.helpers import Stack

from .helpers import KEY
from .processes import CollectorProcess
from .test_live import SEGMENTS

__all__ = ["stack"]  # a fixture

pytestmark = pytest.mark.broker
Reserve = Callable[[int], list[int]]
WHEN = datetime.datetime(2026, 3, 1, 10, tzinfo=datetime.UTC)


def story(client: Any, name: str) -> None:
    """Make each call that both SDKs have."""
    client.identify(f"{name}-ann", {"email": f"{name}@shop.example"})
    for number in range(120):  # more than one batch
        client.track(f"{name}-ann", "Product Viewed", {"sku": f"s{number}"}, timestamp=WHEN)
    client.page(f"{name}-ann", "shop", "home", {"path": "/"})
    client.screen(f"{name}-ann", "shop", "start")
    client.group(f"{name}-ann", "company-1", {"plan": "pro"})
    client.alias(f"{name}-anonymous", f"{name}-ann")
    client.flush()
    client.join()


def test_python_sdks_deliver_every_call(stack: Stack, reserve: Reserve) -> None:
    stack.publish(SEGMENTS)
    collector = CollectorProcess(stack, reserve(2))
    collector.wait_until_ready()
    errors: list[Exception] = []
    failed = {"on_error": lambda error, _: errors.append(error)}
    for gzip in (False, True):
        client = segment.analytics.client.Client(KEY, host=collector.url, gzip=gzip, **failed)
        story(client, f"segment{int(gzip)}")
    story(rudderstack.analytics.client.Client(KEY, host=collector.url, **failed), "rudder")
    assert errors == []
    events = [json.loads(record.value) for record in stack.read(stack.settings.topics.events)]
    assert stack.read(stack.settings.topics.dead_letters) == []
    for name in ("segment0", "segment1", "rudder"):
        own = [each for each in events if str(each["userId"]).startswith(name)]
        kinds = [each["type"] for each in own]
        assert {kind: kinds.count(kind) for kind in set(kinds)} == {
            "identify": 1,
            "track": 120,
            "page": 1,
            "screen": 1,
            "group": 1,
            "alias": 1,
        }
        tracks = [each for each in own if each["type"] == "track"]
        assert {each["properties"]["sku"] for each in tracks} == {f"s{n}" for n in range(120)}
        assert len({each["messageId"] for each in own}) == 125
        assert all(each["originalTimestamp"].startswith("2026-03-01T10:00:00") for each in tracks)
        assert all(each["timestamp"].startswith("2026-03-01T10:00:00") for each in tracks)
        assert all(KEY not in json.dumps(each) for each in own)
