"""A board of published segments and a population of profiles, which answer drafts without Kafka."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any

from segops.analytics.views import PartitionRollout, Rollout
from segops.catalogue.views import EventView, FieldView
from segops.core.engine import Engine
from segops.core.events import Event
from segops.core.profile import Profile
from segops.core.scans import Estimator, draft_of, in_sample
from segops.core.segments import Definition, SegmentSet
from segops.kafka.definitions import DefinitionLog
from segops.schemas.models import read_model
from segops.schemas.published_models import ModelId, ModelLog, PublishedModel, encode_model
from segops.schemas.scans import EstimateRequest, Scanned, decode_result, encode_result
from segops.schemas.segments import definition_from_record, definition_to_record, inline
from tests.core.helpers import MONDAY, D, H
from tests.core.test_forecast import lived

PUBLISHED: list[dict[str, Any]] = [
    {"key": "vip", "name": "VIP customers", "when": {"sum": "total", "of": "Order", "is": {"gte": 60}}},
    {
        "key": "buyers",
        "name": "Buyers",
        "description": "Bought twice or more.",
        "when": {"did": "Order", "count": {"gte": 2}, "within": "30d"},
        "membership": {"min_stay": "1d"},
    },
    {"key": "german", "when": {"trait": "country", "is": {"eq": "DE"}}},
]


def published() -> dict[str, Definition]:
    """Return the published definitions, as they are after a round through the topic."""
    found: dict[str, Definition] = {}
    for each in inline(PUBLISHED, "published", "segments"):
        decoded = definition_from_record(definition_to_record(each))
        assert decoded is not None
        found[each.key] = decoded
    return found


def field_of(name: str, type_: str, **more: Any) -> FieldView:
    return FieldView(name, more.get("share", 1.0), {type_: 10}, more.get("values"), more.get("range"))


CATALOGUE = [
    EventView(
        "Order",
        ["-"],
        1_200,
        1_200,
        171.4,
        MONDAY,
        MONDAY + D,
        {},
        [
            field_of("total", "number", range=(0.0, 390.0)),
            field_of("currency", "string", values={"EUR": 9, "USD": 1}),
            field_of("products.category", "string", values={"shoes": 7, "socks": 3}, share=0.4),
        ],
        0,
    ),
    EventView("Product Viewed", ["-"], 90_000, 90_000, 12_857.1, MONDAY, MONDAY + D, {}, [], 0),
]
TRAITS = EventView(
    "traits",
    ["-"],
    1,
    1,
    0,
    None,
    None,
    {},
    [
        field_of("country", "string", values={"DE": 14, "FR": 13}),
        field_of("birthday", "date"),
        field_of("email", "string"),
    ],
    0,
)


class Sizes:
    """Sizes of segments as the read model has them, and in which partitions a version is in force."""

    def __init__(self, known: int = 40) -> None:
        self.known = known
        self.in_force = {"vip": 1}

    def population(self) -> Any:
        return SimpleNamespace(known=self.known)

    def segments(self) -> Any:
        return SimpleNamespace(segments=[SimpleNamespace(key="vip", members=12_345)])

    def rollout(self, versions: Mapping[str, int]) -> Rollout:
        ((key, version),) = versions.items()
        states = [self.in_force.get(key, 0) >= version, key == "vip"]
        return Rollout([PartitionRollout(number, done) for number, done in enumerate(states)])


@dataclass
class Board:
    """What the builder reads of the read model."""

    definitions: dict[str, Definition] = field(default_factory=published)
    catalogue: list[EventView] = field(default_factory=lambda: list(CATALOGUE))
    traits: EventView | None = TRAITS
    sizes: Sizes = field(default_factory=Sizes)
    as_of_ms: int | None = MONDAY + H
    models: ModelLog = field(default_factory=ModelLog)

    def publish(self, form: dict[str, Any]) -> None:
        """Publish the next version of a model."""
        version = self.models.newest(form["name"]) + 1
        model = read_model({**form, "version": version}, "model.json")
        self.models.apply(ModelId(model.name, version).key, encode_model(PublishedModel(model, MONDAY)))

    def log(self) -> DefinitionLog:
        """Return the topic's log with the same definitions."""
        log = DefinitionLog(lambda _: None)
        log.live, log.models = dict(self.definitions), self.models
        return log


@cache
def profiles() -> tuple[Profile, ...]:
    """Return forty profiles with 0 to 4 orders, a country and an e-mail address."""
    engine = Engine(SegmentSet(published().values()))
    found = []
    for n in range(40):
        steps = [
            ("event", Event("Order", MONDAY + i * 60_000, f"m{i}", {"total": 10 * n})) for i in range(n % 5)
        ]
        traits = {"country": ("DE", "FR", "US")[n % 3], "email": f"person{n}@shop.example"}
        steps.append(("event", Event("identify", MONDAY + 600_000, "t", {}, traits)))
        found.append(lived(engine, steps, MONDAY + H, f"user_id:u{n}"))
    return tuple(found)


def answer(question: EstimateRequest, live: Mapping[str, Definition]) -> Scanned:
    """Return what the workers would answer, over two partitions."""
    segments = SegmentSet(live.values())
    draft = draft_of(question.segment, question.drafts(), segments)
    results = []
    for half in range(2):
        estimator = Estimator(
            draft, share=question.share, funnel=question.funnel, near=question.near, samples=question.samples
        )
        for number, profile in enumerate(profiles()):
            if number % 2 == half and in_sample(profile.id, estimator.share):
                estimator.visit(profile, MONDAY + H)
        results.append(decode_result(question, bytes(encode_result(estimator.result()))))
    return Scanned(MONDAY + H, MONDAY + H + 5, len(profiles()), 0, results[0].merged(results[1]))
