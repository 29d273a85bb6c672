"""The sizes of suggested segments, measured in the running system."""

from __future__ import annotations

from collections.abc import Sequence

from segops.cli._scans import reporting
from segops.config import Settings
from segops.core.values import format_instant
from segops.operations.measuring import PREFIX, Measured, measure
from segops.operations.plans import Wait
from segops.operations.scans import patient_scan
from segops.schemas.scan_views import view_estimate
from segops.schemas.scans import estimate_request
from segops.studio.suggestions import Candidate, Size


async def estimated(
    settings: Settings, found: Sequence[Candidate], *, share: float, wait_s: float
) -> dict[str, Size]:
    """Return the size of each segment by its key, in the profiles as they are stored: a scan for each.

    ``share``: of the profiles that are evaluated. ``wait_s`` bounds each scan.
    """
    sizes = {}
    with reporting() as report:
        for each in found:
            asked = estimate_request(each.definition.key, [each.definition], share=share)
            view = view_estimate(await patient_scan(settings, asked, wait_s=wait_s, progress=report))
            notes = tuple(f"not stored in profiles yet, or not in full: {label}" for label in view.incomplete)
            members, profiles = view.members, view.profiles
            sizes[each.key] = Size(members.estimate, members.low, members.high, profiles.estimate, notes)
    return sizes


async def with_history(settings: Settings, found: Sequence[Candidate], *, wait_s: float) -> dict[str, Size]:
    """Return the size of each segment by its key, past events included: one plan for all, discarded at once.

    The keys of the definitions begin with ``measuring.PREFIX``.
    """
    if not found:
        return {}
    with reporting() as report:
        measured = await measure(settings, [each.definition for each in found], Wait(wait_s, report))
    return {each.key: _size(PREFIX + each.key, measured) for each in found}


def _size(key: str, measured: Measured) -> Size:
    members, since_ms = measured.members[key], measured.since_ms.get(key)
    notes = () if since_ms is None else (f"counts events since {format_instant(since_ms)}",)
    return Size(members, members, members, measured.profiles, notes)
