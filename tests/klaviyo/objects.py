"""Objects of a Klaviyo account, in the form of the contract."""

from __future__ import annotations

from typing import Any

from tests.klaviyo.stand_in import StandIn, iso

_API = "https://a.klaviyo.com/api"


def add_profile(account: StandIn, profile_id: str, updated_ms: int, **attributes: Any) -> dict[str, Any]:
    marketing = {"can_receive_email_marketing": True, "consent": "SUBSCRIBED", "suppression": []}
    written = {
        "email": f"{profile_id}@example.com",
        "phone_number": None,
        "external_id": None,
        "created": iso(updated_ms),
        "updated": iso(updated_ms),
        "subscriptions": {"email": {"marketing": marketing}, "sms": None},
        "properties": {},
        **attributes,
    }
    links = {"self": f"{_API}/profiles/{profile_id}"}
    profile = {"type": "profile", "id": profile_id, "attributes": written, "links": links}
    account.profiles.append(profile)
    return profile


def add_event(
    account: StandIn, event_id: str, metric: str, profile_id: str, time_ms: int, **properties: Any
) -> dict[str, Any]:
    name = f"M{sorted({*account.metrics.values(), metric}).index(metric)}{len(metric)}{metric[:1]}"
    account.metrics[name] = metric
    attributes = {
        "datetime": iso(time_ms),
        "timestamp": time_ms // 1_000,
        "event_properties": {key.replace("__", "$"): value for key, value in properties.items()},
        "uuid": "00000000-0000-0000-0000-000000000000",
    }
    related = {"profile": profile_id, "metric": name}
    event = {
        "type": "event",
        "id": event_id,
        "attributes": attributes,
        "relationships": {kind: {"data": {"type": kind, "id": value}} for kind, value in related.items()},
        "links": {"self": f"{_API}/events/{event_id}"},
    }
    account.events.append(event)
    return event
