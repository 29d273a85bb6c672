"""A read model with audiences, plans and deliveries, built from the records that segops itself writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from segops.analytics.sizes import SegmentSizes
from segops.catalogue.views import EventView, FieldView
from segops.core.audiences.approval import editions_of
from segops.core.audiences.audit import AuditEntry, sign
from segops.core.audiences.compiling import definition_of
from segops.core.audiences.model import Act, Audience, AudienceRecord, Moves, Reach, ReachPlan, State, Step
from segops.core.delivery.model import Delivery
from segops.core.rules.parsing import Context
from segops.core.segments import Definition
from segops.delivery.views import Tally
from segops.destinations.model import Destination
from segops.kafka.definitions import DefinitionLog
from segops.schemas.audiences import decode_record, encode_record, read_audience
from segops.schemas.planned import PlannedEdit
from segops.schemas.published_plans import (
    PlanFigures,
    PlannedSegment,
    PublishedPlan,
    decode_plan,
    encode_plan,
)
from segops.schemas.segments import definition_to_record, inline
from segops.schemas.sizes import (
    PopulationFigures,
    PopulationRecord,
    SizeRecord,
    encode_published,
    key_of,
)

from .helpers import NOW_MS

MINUTE_MS = 60_000
SEGMENTS = [
    {"key": "at-risk", "when": {"did_not": "Order Completed", "within": "60d"}},
    {"key": "vip", "when": {"did": "Order Completed", "count": {"gte": 5}}},
    {"key": "unsubscribed", "when": {"trait": "news", "is": {"eq": False}}},
]
WINBACK: Mapping[str, Any] = {
    "key": "winback-email",
    "name": "Win-back by e-mail",
    "segment": "at-risk",
    "channel": "email",
    "suppress": ["unsubscribed", "trait.bounced"],
    "hold_out": {"salt": "winback", "percent": 10},
    "frequency": {"at_most": 2, "per": "7d"},
    "reasons": {"backfill": "quiet"},
    "limits": {"members": 50_000, "share": "20%", "entries": {"at_most": 5_000, "per": "1h"}},
    "deliver": [{"to": "klaviyo-main", "metric": "Entered win-back"}, {"to": "crm-hook"}],
    "properties": ["indicator.aov_90d", "trait.first_name"],
    "goal": {"did": "Order Completed", "within": "7d"},
}
STEPS = (
    ("segment", 12_400),
    ("address", 11_020),
    ("consent", 9_310),
    ("suppressions", 9_204),
    ("hold-out", 8_284),
)


def act(actor: str = "ann@shop.example", at_ms: int = NOW_MS - 30 * MINUTE_MS) -> Act:
    return Act(actor, "person", True, "console on shop-1", at_ms)


def audience(**changed: Any) -> Audience:
    written = {name: value for name, value in {**WINBACK, **changed}.items() if value is not None}
    return read_audience(written, "audience", Context("shop.yaml"))


class Board:
    """What the console's read model offers to these pages."""

    def __init__(self) -> None:
        self.as_of_ms: int | None = NOW_MS - 2_000
        self.definitions: dict[str, Definition] = {
            each.key: each for each in inline(SEGMENTS, "shop.yaml", "segments")
        }
        self.audiences: dict[str, AudienceRecord] = {}
        self.plans: dict[str, PublishedPlan] = {}
        self.deliveries: dict[Delivery, Tally] = {}
        self.destinations: dict[str, Destination] = {}
        self.gates: dict[str, Mapping[str, Any]] = {}
        self.catalogue: list[EventView] = []
        self.left_out: dict[str, str] = {}
        self.traits: EventView | None = None
        self.planned: PlannedEdit | None = None
        self.sizes = SegmentSizes(1)

    @property
    def log(self) -> DefinitionLog:
        """The definitions as operations read them."""
        found = DefinitionLog(lambda _: None)
        for each in self.definitions.values():
            found.apply(each.key.encode(), definition_to_record(each))
        found.planned = self.planned
        return found

    # -- audiences

    def add(self, written: Audience, state: State = "draft", **changed: Any) -> AudienceRecord:
        """Publish an audience in a state, with a plan unless it says otherwise."""
        self.definitions[written.definition_key] = definition_of(written, ("consent.{purpose}",))
        editions = editions_of(written, self.definitions)
        plan = changed.pop("plan", plan_of(editions))
        record = AudienceRecord(written, state, NOW_MS - 20 * MINUTE_MS, version=1, plan=plan, **changed)
        if state in ("active", "held", "paused"):
            approval = _signed(record, "approve", "active", "bob@shop.example", editions)
            record = msgspec.structs.replace(record, approval=approval, activated_ms=NOW_MS - 20 * MINUTE_MS)
        latest = _signed(record, "apply", state, "ann@shop.example", editions)
        record = msgspec.structs.replace(record, latest=latest)
        self.audiences[written.key] = decode_record(encode_record(record))
        self.size(written.definition_key, 8_301)
        return self.audiences[written.key]

    def size(self, key: str, members: int) -> None:
        """Report the size of a segment."""
        size = SizeRecord(key, 1, 0, 1, 0, "live", members, {"event": members}, {}, NOW_MS - 2_000)
        self._take(size)

    def population(self, known: int) -> None:
        """Report how many profiles there are."""
        figures = PopulationFigures(NOW_MS // 86_400_000 * 86_400_000, known, 0, 0, 0, 0, 0, 0, known)
        self._take(PopulationRecord(0, 1, 0, NOW_MS - 2_000, figures))

    def _take(self, record: Any) -> None:
        self.sizes.apply(key_of(record), encode_published(record))

    # -- deliveries, plans, catalogue

    def deliver(self, destination: str, key: str, wanted: int, known: int, **skipped: int) -> None:
        delivery = Delivery(destination, key)
        self.deliveries[delivery] = Tally(delivery, wanted, known, skipped)

    def destination(self, name: str, kind: str = "webhook", **written: Any) -> None:
        self.destinations[name] = Destination(name, kind, {"name": name, "kind": kind, **written})

    def plan(self, plan_id: str, segments: list[PlannedSegment], **changed: Any) -> None:
        figures = PlanFigures(NOW_MS - 60_000, NOW_MS - 55_000, 40_000, 0, 0, segments, 0)
        given = {"state": "open", "base": "b", "history": False, "figures": figures, **changed}
        made_ms = NOW_MS - 60 * MINUTE_MS
        plan = PublishedPlan(plan_id, made_ms=made_ms, expires_ms=made_ms + 86_400_000, **given)
        self.plans[plan_id] = decode_plan(encode_plan(plan) or b"")


def plan_of(editions: Mapping[str, str], *, at_ms: int = NOW_MS - 40 * MINUTE_MS) -> ReachPlan:
    """Return a measured reach of an audience."""
    reach = Reach(tuple(Step(*each) for each in STEPS), 41_250, at_ms - 3_000, at_ms)
    return ReachPlan("3f9a1c0b77de", act(at_ms=at_ms), editions, reach, 8_100, Moves(200, 16))


def _signed(
    record: AudienceRecord, action: Any, state: State, actor: str, editions: Mapping[str, str]
) -> Any:
    key = record.audience.key
    entry = AuditEntry("e1", key, 1, "", act(actor), action, "draft", state, editions, record.plan, 8_284)
    return sign(entry, None)


def segment(key: str, **changed: Any) -> PlannedSegment:
    """Return what a plan says of a segment."""
    given = {"members": 2_439, "then": 2_610, "entering": 240, "leaving": 69, "staying": 2_370, **changed}
    rest = {"entering_24h": 12, "leaving_24h": 40, "failed": 0, "complete_since_ms": None}
    return PlannedSegment(key, **{"action": "changed", "version": 4, **rest, **given})


def event(name: str, *fields: FieldView) -> EventView:
    """Return an event of the catalogue."""
    return EventView(
        name, ["website"], 120_000, 5_000, 4_210.5, NOW_MS - 10**9, NOW_MS - 4_000, {}, [*fields], 0
    )


def full() -> Board:
    """Return a read model with something of each kind."""
    board = Board()
    for name, number in (("at-risk", 12_418), ("vip", 1_310), ("unsubscribed", 640)):
        board.size(name, number)
    board.population(41_250)
    board.add(audience(), "active")
    board.add(
        audience(key="vip-thanks", name="Thanks to VIPs", segment="vip", goal=None),
        "waiting",
        submitted=act(),
    )
    board.add(
        audience(key="cart-push", name=None, channel="push", existing="send"),
        "held",
        note="klaviyo-main|cart-push: 5,200 entries at once, at most 5,000 per 3600 s",
    )
    board.add(
        audience(
            key="spring-ads", name="Spring ads", channel="ads", deliver=[{"to": "meta-eu", "audience": "238"}]
        ),
        plan=None,
    )
    board.deliver("klaviyo-main", "winback-email", 8_301, 1_912, existing=6_120, capped=204, dead=3)
    board.deliver("crm-hook", "winback-email", 8_301, 2_181, existing=6_120)
    board.destination("klaviyo-main", "klaviyo", api_key={"env": "KLAVIYO_KEY"}, list="XyZ123")
    board.destination(
        "crm-hook", url="https://crm.shop.example/hooks/segops", secrets=[{"env": "CRM_HOOK_SECRET"}]
    )
    board.gates["klaviyo-main"] = {
        "state": "open",
        "reason": "",
        "waiting": 3,
        "oldest_ms": 1_200,
        "per_minute": {"entered": 42.0, "exited": 12.5},
    }
    board.gates["crm-hook"] = {
        "state": "closed",
        "reason": "status 503",
        "waiting": 120,
        "oldest_ms": 95_000,
        "per_minute": {},
    }
    board.plan(
        "a1b2c3d4e5f6",
        [
            segment("at-risk"),
            segment(
                "audience.winback-email",
                action="follows",
                entering=9_800,
                leaving=120,
                members=8_301,
                then=17_981,
            ),
        ],
    )
    board.plan("0000aaaa1111", [segment("vip")], state="applied", ended_ms=NOW_MS - 10**7)
    board.catalogue = [
        event(
            "Order Completed",
            FieldView("total", 1.0, {"number": 5_000}, None, (1.0, 990.0)),
            FieldView("currency", 0.9, {"string": 4_500}, {"EUR": 4_000, "USD": 500}, None),
        ),
        event("Product Viewed", FieldView("sku", 1.0, {"string": 5_000}, None, None)),
    ]
    return board
