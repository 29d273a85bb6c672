"""CloudEvents 1.0 in structured mode: the change is the ``data`` of a JSON event."""

from __future__ import annotations

from typing import Any

import msgspec

from segops.core.events import Change
from segops.core.values import format_instant
from segops.output.form import Form, text_key

_encoder = msgspec.json.Encoder()


def form(app_id: str) -> Form:
    """Return the format; the source of the events is ``segops/`` and the application's id."""

    def event(change: Change, key: str) -> bytes:
        return _encoder.encode(_event(change, f"segops/{app_id}", key))

    return Form(
        b"application/cloudevents+json; charset=UTF-8",
        text_key,
        str.encode,
        lambda change: event(change, f"{change.profile_id}|{change.segment_key}"),
        lambda change: event(change, change.profile_id),
    )


def _event(change: Change, source: str, key: str) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": change.change_id,
        "source": source,
        "type": f"segops.membership.{change.action}",
        "subject": change.segment_key,
        "time": format_instant(change.occurred_at),
        "partitionkey": key,
        "datacontenttype": "application/json",
        "data": change,
    }
