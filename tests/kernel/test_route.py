"""The kernel's resolve step: the profile and the time of an event, or what Python says of it."""

from __future__ import annotations

import json
from collections import Counter
from random import Random
from typing import Any

import pytest

from segops.core.errors import RejectedEvent
from segops.core.identifiers import Rules
from segops.kernel import found
from segops.schemas.events import Routed, route
from segops.schemas.identifying import DEFAULT, IdentityLimits
from segops.streaming.native_route import native_route
from tests.bench.workload import events as workload_events
from tests.core.strategies import BASE_MS
from tests.kernel import plain_cases
from tests.kernel.people import event_json

pytestmark = pytest.mark.skipif(found()[0] is None, reason="the kernel is not built")

_TIMES = (
    *("2025-10-09T08:53:20Z", "2025-10-09T08:53:20.123Z", "2025-10-09T08:53:20.123456+02:00", "2025-10-09"),
    *(
        "2025-10-09 08:53:20 UTC",
        "2025-10-09T08:53",
        "20251009T085320Z",
        "soon",
        "",
        None,
        5,
        "1965-01-01T00:00:00.0005Z",
    ),
    *("2025-10-09T09:53:20Z", "2025-10-09T08:53:29.999Z", "2025-10-09T08:53:30.000Z", "2099-01-01T00:00:00Z"),
)
_FIELDS = ("timestamp", "originalTimestamp", "sentAt", "receivedAt")
_BROKEN = (
    b"",
    b"{",
    b"[]",
    b'{"type":"track"}',
    b'{"type":"alias","userId":"u","previousId":"v"}',
    b"\xff",
    None,
)
LIMITS = (
    DEFAULT,
    IdentityLimits(max_bytes=250, blocked=frozenset(("u1",)), rules=Rules(("anonymous_id", "email"))),
    IdentityLimits(rules=Rules(("device_id", "*", "anonymous_id")), email_sources=("properties", "traits")),
)


def answer_of(resolve: Any, value: bytes | None, **options: Any) -> Any:
    repairs: Counter[str] = Counter()
    try:
        routed = resolve(value, repairs=repairs, **options)
    except RejectedEvent as rejection:
        return rejection.reason, rejection.detail, repairs
    assert routed.__class__ is Routed
    return routed, repairs


@pytest.mark.parametrize("limits", LIMITS, ids=["default", "strict", "odd"])
@pytest.mark.parametrize("default_ms", [None, 7])
def test_the_kernel_and_python_route_alike(limits: IdentityLimits, default_ms: int | None) -> None:
    rng, native = Random(3), native_route(found()[0], limits)
    events = [event for kind, event in plain_cases.steps(rng, 400) if kind == "event"]
    for number, event in enumerate(events):
        written: dict[str, Any] = json.loads(event_json(event, rng, number))
        for field in _FIELDS:
            if rng.random() < 0.5:
                written[field] = rng.choice(_TIMES if rng.random() < 0.3 else _TIMES[:3])
        if rng.random() < 0.2:
            del written["timestamp"]
        options = {"now_ms": BASE_MS + rng.choice((0, 10**7)), "default_time_ms": default_ms}
        value = json.dumps(written).encode()
        assert answer_of(native, value, **options) == answer_of(python_route(limits), value, **options), (
            written
        )


def python_route(limits: IdentityLimits) -> Any:
    return lambda value, **options: route(value, limits=limits, **options)


@pytest.mark.parametrize("value", _BROKEN)
def test_what_is_invalid_is_rejected_by_python(value: bytes | None) -> None:
    options = {"now_ms": BASE_MS, "default_time_ms": 7}
    python = answer_of(python_route(DEFAULT), value, **options)
    assert answer_of(native_route(found()[0], DEFAULT), value, **options) == python


def test_common_events_do_not_need_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equality alone would also hold if Python did everything."""
    monkeypatch.setattr("segops.streaming.native_route.route", lambda *_, **__: pytest.fail("left to Python"))
    native = native_route(found()[0], DEFAULT)
    for user, value in workload_events(200, 20):
        routed, repairs = answer_of(native, value, now_ms=4 * 10**12, default_time_ms=None)
        assert (routed.profile_id, repairs) == (f"user_id:{user}", Counter())
