"""The calls with which Segment's audiences reach their destinations.

A change is a ``track`` of "Audience Entered" or "Audience Exited", a membership an ``identify`` that has the
segment as a trait.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from segops.core.events import Change
from segops.core.values import format_instant
from segops.output.form import Form, text_key

_EVENTS: Final = {True: "Audience Entered", False: "Audience Exited"}
_encoder = msgspec.json.Encoder()


def form(app_id: str) -> Form:
    """Return the format; the application's id names the space of the audiences."""
    space = f"spa_{app_id}"
    return Form(
        b"application/json",
        text_key,
        str.encode,
        lambda change: _encoder.encode(_identify(change, space)),
        lambda change: _encoder.encode(_track(change, space)),
    )


def _track(change: Change, space: str) -> dict[str, Any]:
    key = change.segment_key
    call = {"type": "track", "event": _EVENTS[change.member], **_envelope(change, space)}
    return {**call, "properties": {key: change.member, "audience_key": key}}


def _identify(change: Change, space: str) -> dict[str, Any]:
    return {
        "type": "identify",
        **_envelope(change, space),
        "traits": {**_email(change), change.segment_key: change.member},
    }


def _email(change: Change) -> dict[str, str]:
    return {} if change.email is None else {"email": change.email}


def _envelope(change: Change, space: str) -> dict[str, Any]:
    return {
        "messageId": change.change_id,
        **_ids(change),
        "timestamp": format_instant(change.occurred_at),
        "context": {
            "traits": _email(change),
            "personas": {
                "computation_class": "audience",
                "computation_id": f"aud_{change.segment_key}",
                "computation_key": change.segment_key,
                "namespace": space,
                "space_id": space,
            },
        },
    }


def _ids(change: Change) -> dict[str, str]:
    """Return the ids of a call. It must have one: the profile id stands in for both."""
    ids = {"userId": change.user_id, "anonymousId": change.anonymous_id}
    found = {name: value for name, value in ids.items() if value is not None}
    return found or {"anonymousId": change.profile_id}
