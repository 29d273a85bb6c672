"""A person as pages show it: plain data; names and values are hidden from those who may not see them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from segops.api.timeline import RecentTimeline
from segops.console.page import Data
from segops.console.people.handles import Names
from segops.core.identifiers import type_of
from segops.core.views.explain import Explanation, RulePart, SegmentExplanation
from segops.core.views.profile import EVENT, ITSELF, TAKEN_OVER, Identifier, MembershipView, ProfileView
from segops.core.views.sandbox import FlippedLeaf, SandboxChange, SandboxView
from segops.core.views.timeline import TimelineChange, TimelineEntry, TimelineEvent

#: Reason of a change -> in words.
REASONS: Final[Mapping[str, str]] = {
    "event": "an event",
    "time": "time passing",
    "definition": "a change of the segment",
    "score": "a new model of a score",
    "backfill": "the history, when the segment was published",
    "merge": "two profiles becoming one",
    "split": "a split of two profiles",
    "erasure": "an erasure",
    "list": "a static list",
    "quarantine": "a repair of the profile",
    "restart": "a rebuild of the state",
}
_ORIGINS: Final[Mapping[str, str]] = {
    ITSELF: "The profile's own",
    EVENT: "Carried by an event",
    TAKEN_OVER: "Came with a profile that was merged in",
}


def text_of(value: Any) -> str:
    """Return a value as people read it.

    >>> text_of("Paris"), text_of(None), text_of([1, "a"]), text_of(True)
    ('Paris', '', '[1,"a"]', 'true')
    """
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def reason_text(reason: str | None) -> str:
    """Return a reason in words.

    >>> reason_text("time"), reason_text(None), reason_text("moon")
    ('time passing', 'unknown', 'moon')
    """
    return "unknown" if reason is None else REASONS.get(reason, reason)


# -- the profile -------------------------------------------------------------------------------------------


def profile_data(view: ProfileView, names: Names) -> dict[str, Any]:
    """Return what is known of a person, without the memberships."""
    hidden = names.value
    return {
        "id": names.identifier(view.profile_id),
        "path": names.path(view.profile_id),
        "masked": names.masked,
        "clock_ms": view.now_ms,
        "first_ms": view.first_ms,
        "latest_ms": view.latest_ms,
        "held": view.held,
        "awaits": [names.identifier(each) for each in view.awaits],
        "identifiers": [_identifier(each, names) for each in view.identifiers],
        "traits": [
            {"name": name, "value": hidden(text_of(value))} for name, value in sorted(view.traits.items())
        ],
        "features": [
            {
                "label": each.label,
                "value": hidden(text_of(each.value)),
                "at_least": each.value_is_least,
                "complete_since_ms": each.complete_since,
            }
            for each in view.features
        ],
        "indicators": [
            {
                "name": each.indicator,
                "label": each.label,
                "version": each.version,
                "value": hidden(text_of(each.value)),
                "published": hidden(text_of(each.published)),
                "published_ms": each.published_at,
                "publishes_ms": each.publishes_at,
            }
            for each in view.indicators
        ],
        "lists": list(view.lists),
    }


def _identifier(found: Identifier, names: Names) -> dict[str, Any]:
    return {
        "identifier": names.identifier(found.identifier),
        "type": type_of(found.identifier),
        "origin": found.origin,
        "how": _ORIGINS[found.origin],
        "at_ms": found.at_ms,
        "event_id": names.value(found.event_id),
        "may_split": found.origin == TAKEN_OVER,
    }


# -- memberships -------------------------------------------------------------------------------------------


def memberships_data(
    memberships: Iterable[MembershipView], explanation: Explanation | None, names: Names
) -> list[dict[str, Any]]:
    """Return memberships, the newest first, each with its rule node by node if it is explained."""
    explained: Mapping[str, SegmentExplanation] = (
        {} if explanation is None else {each.segment_key: each for each in explanation.segments}
    )
    found = [_membership(each, explained.get(each.segment_key), names) for each in memberships]
    return sorted(found, key=lambda each: (-each["since_ms"], each["segment"]))


def _membership(found: MembershipView, why: SegmentExplanation | None, names: Names) -> dict[str, Any]:
    return {
        "segment": found.segment_key,
        "name": found.name,
        "version": found.version,
        "since_ms": found.since,
        "reason": found.reason,
        "reason_text": reason_text(found.reason),
        "event_id": names.value(found.event_id),
        "until_ms": found.until,
        "paused": found.paused,
        "because": None if why is None else tree_data(why.rule, names),
        "stays_until_ms": None if why is None or why.limits is None else why.limits.stays_until,
    }


def explained_data(found: SegmentExplanation, names: Names) -> dict[str, Any]:
    """Return a segment of an explanation, whether the person is a member or not."""
    limits = found.limits
    return {
        "segment": found.segment_key,
        "name": found.name,
        "version": found.version,
        "member": found.member,
        "since_ms": found.since,
        "until_ms": found.flips_at,
        "enters_from_ms": None if limits is None else limits.enters_from,
        "complete_since_ms": found.complete_since,
        "because": tree_data(found.rule, names),
    }


def tree_data(part: RulePart, names: Names) -> dict[str, Any]:
    """Return a node of an explanation, with those below it."""
    return {
        "label": part.label,
        "holds": part.holds,
        "value": text_of(part.value) if part.parts else names.value(text_of(part.value)),
        "at_least": part.value_is_least,
        "compared": part.threshold is not None,
        "since_ms": part.changed_at,
        "until_ms": part.changes_at,
        "note": part.note or "",
        "parts": [tree_data(each, names) for each in part.parts],
    }


# -- the timeline ------------------------------------------------------------------------------------------


def timeline_data(found: RecentTimeline, names: Names) -> list[dict[str, Any]]:
    """Return the entries of a timeline, the newest first."""
    events = {each.message_id for each in found.entries if isinstance(each, TimelineEvent)}
    return [_entry(each, events, names) for each in reversed(found.entries)]


def _entry(entry: TimelineEntry, events: set[str], names: Names) -> dict[str, Any]:
    common = {"at_ms": entry.time_ms, "profile": names.identifier(entry.profile_id)}
    if isinstance(entry, TimelineEvent):
        properties = {name: names.value(text_of(value)) for name, value in entry.properties.items()}
        shown = {"kind": "event", "name": entry.name, "message_id": names.value(entry.message_id)}
        return {**common, **shown, "properties": properties, "origin": names.value(entry.origin)}
    into = entry.merged_into
    return {
        **common,
        "kind": "change",
        "action": entry.action,
        "segment": entry.segment_key,
        "version": entry.segment_version,
        "reason": entry.reason,
        "reason_text": reason_text(entry.reason),
        "event_id": names.value(entry.event_id),
        "event_is_shown": entry.event_id in events and not names.masked,
        "merged_into": None if into is None else names.identifier(into),
    }


def past_data(entries: Sequence[TimelineEntry]) -> list[dict[str, Any]]:
    """Return the memberships that have ended, the latest end first, from entries in order of time."""
    begun: dict[tuple[str, str], TimelineChange] = {}
    found = []
    for each in entries:
        if not isinstance(each, TimelineChange):
            continue
        key = each.profile_id, each.segment_key
        if each.action == "entered":
            begun[key] = each
        else:
            found.append(_past(begun.pop(key, None), each))
    return found[::-1]


def _past(entry: TimelineChange | None, end: TimelineChange) -> dict[str, Any]:
    return {
        "segment": end.segment_key,
        "version": end.segment_version,
        "since_ms": None if entry is None else entry.time_ms,
        "until_ms": end.time_ms,
        "lasted_ms": None if entry is None else end.time_ms - entry.time_ms,
        "began_by": None if entry is None else reason_text(entry.reason),
        "ended_by": reason_text(end.reason),
    }


# -- the sandbox -------------------------------------------------------------------------------------------


def sandbox_data(view: SandboxView, names: Names) -> Data:
    """Return the result of a sandbox."""
    return {
        "now_ms": view.now_ms,
        "until_ms": view.until_ms,
        "reached_ms": view.reached_ms,
        "stopped": view.stopped,
        "failed": list(view.failed),
        "before": [_brief(each) for each in view.before],
        "after": [_brief(each) for each in view.after],
        "changes": [_change(each, names) for each in view.changes],
    }


def _brief(found: MembershipView) -> dict[str, Any]:
    return {
        "segment": found.segment_key,
        "name": found.name,
        "since_ms": found.since,
        "until_ms": found.until,
    }


def _change(change: SandboxChange, names: Names) -> dict[str, Any]:
    return {
        "at_ms": change.at_ms,
        "segment": change.segment,
        "name": change.name,
        "version": change.version,
        "action": change.action,
        "reason": change.reason,
        "event": change.event,
        "until_ms": change.until,
        "because": tree_data(change.because, names),
        "flipped": list(_flipped(change.flipped, names)),
    }


def _flipped(leaves: Iterable[FlippedLeaf], names: Names) -> Iterator[dict[str, Any]]:
    for leaf in leaves:
        compared = leaf.threshold is not None
        yield {
            "label": leaf.label,
            "was": leaf.was,
            "holds": leaf.holds,
            "value_before": names.value(text_of(leaf.value_before)) if compared else "",
            "value": names.value(text_of(leaf.value)) if compared else "",
        }
