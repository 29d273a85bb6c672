"""Responses: JSON for senders, and the settings that browser SDKs ask for before they send."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from segops.api.health import Page
from segops.collector.ingest import Accepted
from segops.collector.plans import VIOLATION
from segops.collector.sources import Source
from segops.tracking.violations import ViolationTally

_JSON: Final = "application/json"
_SHOWN: Final = 20
SUCCESS: Final = Page(200, b'{"success":true}', _JSON)
#: A time of change that never changes: SDKs require one.
_SINCE: Final = "2026-01-01T00:00:00.000Z"


def accepted_page(accepted: Accepted) -> Page:
    """Return 200 if at least one event is valid, as Segment does, else 400; with the first rejections.

    An event that a tracking plan rejects is valid in this respect: it is kept.
    """
    if not accepted.rejections:
        return SUCCESS
    shown = accepted.rejections[:_SHOWN]
    rejected = [{"path": each.path, "code": each.reason, "message": each.detail} for each in shown]
    fields: dict[str, Any] = {"rejected": rejected, "rejected_total": len(accepted.rejections)}
    if accepted.events or all(each.reason == VIOLATION for each in accepted.rejections):
        return _page(200, {"success": True, **fields})
    first = shown[0]
    return _page(400, {"code": first.reason, "message": f"{first.path}: {first.detail}", **fields})


def segment_settings(key: str, url: str) -> Page:
    """Return the settings of Segment's browser SDK: it sends to ``url``, and loads nothing from elsewhere."""
    protocol, _, host = url.partition("://")
    sender = {"apiKey": key, "apiHost": f"{host}/v1", "protocol": protocol}
    return _page(
        200,
        {
            "integrations": {"Segment.io": sender},
            "plan": {"track": {"__default": {"enabled": True, "integrations": {}}}},
            "edgeFunction": {},
            "metrics": {"sampleRate": 0},
        },
    )


def rudder_settings(key: str, source: Source) -> Page:
    """Return the source configuration of RudderStack's browser SDK: no destinations beside the collector."""
    config: Mapping[str, Any] = {
        "statsCollection": {"errors": {"enabled": False}, "metrics": {"enabled": False}}
    }
    return _page(
        200,
        {
            "source": {
                "id": source.name,
                "name": source.name,
                "writeKey": key,
                "enabled": True,
                "workspaceId": "segops",
                "config": config,
                "destinations": [],
                "updatedAt": _SINCE,
            },
            "updatedAt": _SINCE,
        },
    )


def violations_page(tally: ViolationTally) -> Page:
    """Return the violations of tracking plans since the start of the process, the most frequent first."""
    return _page(200, {"violations": tally.totals()})


def _page(status: int, content: Mapping[str, Any]) -> Page:
    return Page(status, msgspec.json.encode(content), _JSON)
