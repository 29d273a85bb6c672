"""Every node of the language and every score: what an event costs by the kernel and by Python.

Each rule is a segment alone, on the events of one partition. A rule that the kernel lacks is a question to
Python; an event that only Python can apply is left to it whole: both are counted by reason.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from segops.core.engine import Engine
from segops.core.identifiers import Rules
from segops.core.segments import Definition, SegmentSet
from segops.kernel import found
from segops.schemas.events import route
from segops.schemas.identifying import IdentityLimits
from segops.schemas.segments import inline
from segops.stores.memory import MemoryStores
from segops.streaming.partition.clock import PartitionClock
from segops.streaming.partition.native_segment import NativeSegmentProcessor
from segops.streaming.partition.segment import SegmentProcessor
from segops.streaming.partition.start import Start
from segops.testing import RecordingOutput

from .scores import MODELS, RULES, read_models

_WALL_MS: Final = 2_000_000_000_000
_BATCH: Final = 1_000
_USERS: Final = IdentityLimits(rules=Rules(("user_id",)))
_VIEWS: Final[dict[str, Any]] = {"of": "Product Viewed", "within": "7d"}
_PLACES: Final = {"zone": {"lat": 59.9, "lon": 10.7, "radius": "5km"}}
_INDICATORS: Final = {"plan": {"trait": "plan"}}

#: Node -> a rule of the workload's shop.
NODES: Final[dict[str, Any]] = {
    "did": {"did": "Product Viewed", "count": {"gte": 3}, "within": "2d"},
    "did, where": {"did": "Product Viewed", "where": {"brand": "Acme"}, "count": {"gte": 2}, "within": "2d"},
    "did, between": {"did": "Product Viewed", "between": {"from": "3d", "to": "1d"}},
    "did, calendar": {"did": "Product Viewed", "count": {"gte": 3}, "calendar": {"this": "week"}},
    "did, refresh": {"did": "Product Viewed", "count": {"gte": 3}, "refresh": {"every": "day"}},
    "did_not": {"did_not": "Order Completed", "within": "2d"},
    "all": {"all": [{"did": "Product Viewed", "within": "2d"}, {"did_not": "Order Completed"}]},
    "any": {"any": [{"did": "Order Completed"}, {"did": "Product Added", "within": "1d"}]},
    "not": {"not": {"did": "Order Completed", "within": "1d"}},
    "at_least": {"at_least": {"k": 1, "of": [{"did": "Order Completed"}, {"did": "Product Added"}]}},
    "sum": {"sum": "price", **_VIEWS, "is": {"gte": 500}},
    "avg": {"avg": "price", **_VIEWS, "is": {"gte": 100}},
    "min": {"min": "price", **_VIEWS, "is": {"lte": 20}},
    "max": {"max": "price", **_VIEWS, "is": {"gte": 150}},
    "distinct": {"distinct": "category", **_VIEWS, "is": {"gte": 3}},
    "latest": {"latest": "brand", **_VIEWS, "is": {"eq": "Acme"}},
    "earliest": {"earliest": "brand", **_VIEWS, "is": {"eq": "Acme"}},
    "most_frequent": {"most_frequent": "brand", **_VIEWS, "is": {"eq": "Acme"}},
    "first": {"first": "Order Completed", "is": {"older_than": "1d"}},
    "last": {"last": "Order Completed", "is": {"older_than": "1d"}},
    "trait": {"trait": "plan", "is": {"in": ["gold", "platinum"]}},
    "known_for": {"known_for": "1d"},
    "has_been": {"has_been": {"trait": "plan", "is": {"eq": "gold"}}, "for": "1d"},
    "changed": {"changed": {"trait": "plan", "to": "gold"}, "within": "1d"},
    "identified": {"identified": True},
    "has_identifier": {"has_identifier": "email"},
    "near": {"near": {"lat": 59.9, "lon": 10.7, "radius": "5km"}},
    "inside": {"inside": "zone"},
    "distance_to": {"distance_to": "zone", "is": {"lte": "1km"}},
    "bucket": {"bucket": {"salt": "s", "from": 0, "to": 10}},
    "sequence": {"sequence": [{"did": "Product Viewed"}, {"did": "Product Added"}], "within": "1d"},
    "rfm": {"rfm": "champions"},
    "score_percentile": {"score_percentile": "recency_days", "is": {"gte": 90}},
    "active_days": {"active_days": "Product Viewed", "is": {"gte": 2}},
    "active_weeks": {"active_weeks": "Product Viewed", "is": {"gte": 2}},
    "active_months": {"active_months": "Product Viewed", "is": {"gte": 2}},
    "sessions": {"sessions": "Product Viewed", "is": {"gte": 2}},
    "session": {"session": "duration", "of": "Product Viewed", "is": {"gte": "10m"}},
    "regularly": {"regularly": "Product Viewed", "every": "1d", "k": 3, "of": 4},
    "lifecycle": {"lifecycle": {"of": "Order Completed", "period": "28d", "is": "new"}},
    "compare": {"compare": [{"did": "Product Viewed"}, "gt", {"did": "page"}]},
    "indicator": {"indicator": "plan", "is": {"eq": "gold"}},
    "ratio": {
        "ratio": {"of": {"did": "Order Completed"}, "to": {"did": "Product Viewed"}, "is": {"gte": 0.5}}
    },
    "in_segment": {"in_segment": "other"},
    "score: recency_days": {"score": "recency_days", "is": {"gte": 3}},
    "score, enter and exit": {"score": "recency_days", "enter": {"lte": 1}, "exit": {"gte": 3}},
    **{f"score: {form['score']}": form for form in RULES.values()},
}


class Cost(NamedTuple):
    """Microseconds of an event by each implementation, and what the kernel left or asked, by reason."""

    kernel_us: float
    python_us: float
    left: Mapping[str, int]

    @property
    def text(self) -> str:
        """The figures in words."""
        left = ", ".join(f"{number:,} {reason}" for reason, number in self.left.items())
        return f"{self.kernel_us:.1f}, {self.python_us:.1f}" + (f"; by Python: {left}" if left else "")


class _Record(msgspec.Struct):
    offset: int
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]
    timestamp: int


def measure(events: Sequence[tuple[str, bytes]]) -> Iterator[tuple[str, Cost]]:
    """Measure every node on the same events, if the kernel is built."""
    if found()[0] is None:
        return
    records = [*_records(events)]
    for node in NODES:
        segments = SegmentSet(definitions(node))
        kernel_us, left = _cost(segments, records, native=True)
        python_us, _ = _cost(segments, records, native=False)
        yield node, Cost(kernel_us, python_us, left)


def definitions(node: str) -> list[Definition]:
    """Return the segment of a node, and the one that it names."""
    other = {"key": "other", "when": {"did": "Product Viewed", "within": "1d"}}
    written = [{"key": "it", "when": NODES[node]}, *([other] if node == "in_segment" else [])]
    blocks: dict[str, Any] = {"areas": _PLACES, "indicators": _INDICATORS, "models": read_models(MODELS)}
    return inline(written, "bench", "segments", **blocks)


def _records(events: Sequence[tuple[str, bytes]]) -> Iterator[_Record]:
    for offset, (_, value) in enumerate(events):
        routed = route(value, now_ms=_WALL_MS, default_time_ms=0)
        headers = [("segops-source", b"0:%d" % offset), ("segops-time", b"%d" % routed.time_ms)]
        yield _Record(offset, routed.profile_id.encode(), value, headers, routed.time_ms)


def _cost(
    segments: SegmentSet, records: Sequence[_Record], *, native: bool
) -> tuple[float, Mapping[str, int]]:
    start = Start(0, PartitionClock(sources=1, by_events=True), partitions=1)
    kind: Any = NativeSegmentProcessor if native else SegmentProcessor
    options = {"native": found()[0]} if native else {}
    output = RecordingOutput()
    processor: Any = kind(
        MemoryStores().open(0), Engine(segments), start=start, output=output, limits=_USERS, **options
    )
    batches = [records[at : at + _BATCH] for at in range(0, len(records), _BATCH)]
    begin = time.process_time()
    for batch in batches:
        processor.process(batch)
        while processor.fire_due(processor.timers_at_once):
            pass
        output.changes.clear()
    taken_us = (time.process_time() - begin) / len(records) * 1e6
    return taken_us, dict(processor.take_counts().left_to_python)
