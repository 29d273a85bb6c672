"""Two catalogues, an instant, and rules compared by what they mean."""

from __future__ import annotations

from typing import Any

from segops.core.rules.model import identity
from segops.core.rules.parsing import Context, read_rule
from segops.core.values import parse_instant
from segops.studio import Proposal, StudioCatalogue
from segops.studio.propose import answered

NOW_MS = parse_instant("2026-11-26T09:00:00Z") or 0

_CATEGORIES = ["Shoes", "Jackets", "Dresses", "Bags", "Accessories"]
_BRANDS = ["Nordvik", "Alma", "Tern"]

SHOP = StudioCatalogue.from_document(
    {
        "events": {
            "Product Viewed": {
                "product_id": "string",
                "name": "string",
                "category": _CATEGORIES,
                "brand": _BRANDS,
                "price": "number",
            },
            "Product Added": {
                "product_id": "string",
                "category": _CATEGORIES,
                "brand": _BRANDS,
                "price": "number",
                "quantity": "number",
            },
            "Product Added to Wishlist": {"product_id": "string", "category": "string"},
            "Products Searched": {"query": "string"},
            "Checkout Started": {"order_id": "string", "value": "number"},
            "Order Completed": {
                "order_id": "string",
                "revenue": "number",
                "item_count": "number",
                "currency": ["EUR", "GBP", "USD"],
                "coupon": "string",
                "channel": ["web", "app", "store"],
            },
            "Order Refunded": {"order_id": "string", "total": "number"},
            "Product Reviewed": {"product_id": "string", "rating": "number"},
            "Email Opened": {"campaign_name": "string"},
            "Email Link Clicked": {"campaign_name": "string"},
            "Store Visited": {"store_id": "string", "city": "string"},
            "Support Ticket Opened": {"topic": ["delivery", "return", "payment", "other"]},
            "Application Opened": {},
        },
        "traits": {
            "email": "string",
            "phone": "string",
            "country": "iso2",
            "city": "string",
            "birthday": "date",
            "loyalty_tier": ["bronze", "silver", "gold", "platinum"],
            "loyalty_points": "number",
            "email_consent": "boolean",
            "sms_consent": "boolean",
            "created_at": "date",
            "tags": "list",
        },
        "segments": ["vip", "employees", "newsletter"],
        "scores": {"churn_risk": "0..1", "purchase_propensity": "0..1", "predicted_ltv": "EUR"},
        "rfm": [
            "champions",
            "loyal",
            "potential_loyalists",
            "new",
            "promising",
            "need_attention",
            "about_to_sleep",
            "at_risk",
            "cant_lose",
            "hibernating",
        ],
        "places": {"Paris store": {"lat": 48.8566, "lon": 2.3522}},
    },
    "shop",
)

SAAS = StudioCatalogue.from_document(
    {
        "events": {
            "Signed Up": {"source": "string"},
            "Trial Started": {"plan": ["team", "business"]},
            "Logged In": {},
            "Feature Used": {"feature": ["dashboard", "export", "api", "alerts"], "duration_s": "number"},
            "Invited Teammate": {"role": "string"},
            "Subscription Cancelled": {"reason": "string"},
            "Payment Failed": {"amount": "number"},
            "NPS Submitted": {"score": "number"},
        },
        "traits": {
            "email": "string",
            "plan": ["free", "trial", "team", "business"],
            "role": ["member", "admin", "owner"],
            "seats": "number",
            "trial_ends_at": "date",
            "renewal_date": "date",
            "created_at": "date",
            "country": "iso2",
        },
        "segments": ["power-users"],
        "scores": {"churn_risk": "0..1"},
    },
    "saas",
)

CATALOGUES = {"shop": SHOP, "saas": SAAS}


def meaning(rule: dict[str, Any], catalogue: StudioCatalogue = SHOP) -> str:
    """Return the identity of a rule: equal for rules that differ only in layout."""
    context = Context("rule")
    context.scores = tuple(catalogue.scores)
    return identity(read_rule(rule, "when", context))


def said(text: str, catalogue: StudioCatalogue = SHOP) -> Proposal:
    """Return what the studio answers at ``NOW_MS``."""
    return answered(text, catalogue, NOW_MS)
