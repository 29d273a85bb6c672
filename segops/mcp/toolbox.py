"""The tools that these settings allow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from segops.config import Settings
from segops.mcp import drafts, people, plans, scans, segments
from segops.mcp.sentences import sentence_tools
from segops.mcp.tool import Tool

#: Those that need nothing but a running system. None approves, releases, publishes, erases or sends.
TOOLS: Final = (*segments.TOOLS, *scans.TOOLS, *drafts.TOOLS, *plans.TOOLS, *people.TOOLS)


def tools_of(settings: Settings) -> Mapping[str, Tool]:
    """Return the tools by name; those that read personal data only where the operator allows it."""
    allowed = [each for each in TOOLS if settings.mcp.personal_data or not each.personal]
    return {each.name: each for each in (*allowed, *sentence_tools(settings))}
