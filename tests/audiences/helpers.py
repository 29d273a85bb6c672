"""Audiences and acts for the tests."""

from __future__ import annotations

from typing import Any

from segops.core.audiences.model import Act, Audience, Reach, ReachPlan, Step
from segops.core.rules.parsing import Context
from segops.schemas.audiences import read_audience

FULL: dict[str, Any] = {
    "key": "winback-email",
    "segment": "at-risk",
    "channel": "email",
    "purpose": "marketing",
    "suppress": ["unsubscribed", "trait.bounced"],
    "hold_out": {"salt": "winback", "percent": 12.5},
    "frequency": {"at_most": 2, "per": "7d"},
    "existing": "send",
    "reasons": {"backfill": "quiet", "merge": "normal"},
    "limits": {
        "members": 50_000,
        "share": "20%",
        "entries": {"at_most": 5_000, "per": "1h"},
        "exits": {"at_most": 100, "per": "1m"},
    },
    "deliver": [{"to": "klaviyo-main", "metric": "Entered win-back"}, {"to": "crm-hook", "lists": [1, 2]}],
    "properties": ["indicator.aov_90d", "indicator.tier", "trait.first_name"],
    "goal": {"did": "Order Completed", "within": "7d"},
    "alert": {"size": "30%", "over": "1d"},
    "name": "Win-back",
    "description": "Customers at risk, by e-mail.",
}


def audience(**changed: Any) -> Audience:
    """Return the full audience, with some keys changed; None removes one."""
    written = {key: each for key, each in {**FULL, **changed}.items() if each is not None}
    return read_audience(written, "audiences[0]", Context("shop.yaml"))


def act(actor: str = "ann", at_ms: int = 0) -> Act:
    """Return that a person does something at an instant."""
    return Act(actor, "person", True, "segops on shop-1", at_ms)


def planned(editions: dict[str, str], *, members: int = 100, at_ms: int = 0) -> ReachPlan:
    """Return a plan with these editions."""
    reach = Reach((Step("segment", 2 * members), Step("address", members)), 1_000, at_ms, at_ms)
    return ReachPlan("p1", act(at_ms=at_ms), editions, reach)
