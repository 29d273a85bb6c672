"""Tools that read personal data. The operator allows them by SEGOPS_MCP_PERSONAL_DATA."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from segops.config import Settings
from segops.core.identifiers import identifier_of
from segops.kafka.definitions import read
from segops.mcp.segments import published
from segops.mcp.tool import Answer, Form, Key, Tool
from segops.operations.history import members_at
from segops.operations.timeline import timeline

_MAX_MEMBERS: Final = 200


class _Members(Form):
    key: Key = Field(description="The key of the segment.")
    after: str = Field(default="", max_length=512, description="The profile after which the page begins.")
    limit: int = Field(default=50, ge=1, le=_MAX_MEMBERS, description="The most members of the page.")


class _Timeline(Form):
    identifier: str = Field(
        min_length=3, max_length=512, description="An identifier of the person, such as user_id:ann."
    )
    limit: int = Field(default=50, ge=1, le=_MAX_MEMBERS, description="The most entries, the latest ones.")


async def _members(settings: Settings, form: _Members) -> Answer:
    published(await read(settings, on_bad=lambda _: None), form.key)
    found = await members_at(settings, form.key, None)
    left = sorted((each for each in found if each.profile_id > form.after), key=lambda each: each.profile_id)
    shown = left[: form.limit]
    after = shown[-1].profile_id if len(shown) < len(left) else None
    return {"members": shown, "total": len(found), "next": after}


async def _timeline(settings: Settings, form: _Timeline) -> Answer:
    found = await timeline(settings, identifier_of(form.identifier))
    return {
        "profile_id": found.profile_id,
        "entries": found.entries[-form.limit :],
        "total": len(found.entries),
        "events_since_ms": found.events_since_ms,
        "changes_since_ms": found.changes_since_ms,
    }


TOOLS: Final = (
    Tool(
        "list_members",
        "List members",
        "List the members of a segment now: since when, why, and until when. Personal data.",
        _Members,
        _members,
        personal=True,
        identifying=frozenset({"after"}),
    ),
    Tool(
        "read_timeline",
        "Timeline of a person",
        "Read the latest events and membership changes of one person. Personal data.",
        _Timeline,
        _timeline,
        personal=True,
        identifying=frozenset({"identifier"}),
    ),
)
