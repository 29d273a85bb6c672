"""Tools about what persons plan and approve: plans of segments, and audiences."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from segops.config import Settings
from segops.mcp.tool import Answer, Form, Key, PageForm, Tool
from segops.operations.audiences.views import AudienceView, views
from segops.operations.plan_log import latest_plans


class _Plans(Form):
    limit: int = Field(default=10, ge=1, le=50, description="The most plans, the latest first.")


class _Audiences(PageForm):
    keys: list[Key] = Field(default=[], max_length=50, description="The audiences; none: all, by page.")


async def _plans(settings: Settings, form: _Plans) -> Answer:
    found = await latest_plans(settings)
    return {"plans": found[: form.limit], "total": len(found)}


async def _audiences(settings: Settings, form: _Audiences) -> Answer:
    found = {each.key: each for each in await views(settings, form.keys)}
    keys, after = form.page(found)
    return {"audiences": [_view(found[key]) for key in keys], "total": len(found), "next": after}


def _view(each: AudienceView) -> dict[str, Any]:
    """Return an audience with its plan; without those who acted, who are no concern of an assistant."""
    plan = each.plan
    shown = {
        name: getattr(each, name)
        for name in ("key", "segment", "channel", "state", "void", "since_ms", "reach", "note")
    }
    made = None if plan is None else {"id": plan.id, "expires_ms": plan.expires_ms, "reach": plan.reach}
    return {**shown, "plan": made}


TOOLS: Final = (
    Tool(
        "list_plans",
        "List plans of segments",
        "List the latest plans of edits of segments: what each would change, and how it ended.",
        _Plans,
        _plans,
    ),
    Tool(
        "list_audiences",
        "List audiences",
        "List audiences: state, channel, reach now, and the reach that was planned, step by step.",
        _Audiences,
        _audiences,
    ),
)
