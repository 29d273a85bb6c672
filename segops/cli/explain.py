"""``segops explain``: why a profile is or is not in a segment, from a file of events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import click
import msgspec

from segops.cli._indicators import indicator_line, shown
from segops.cli._input import Input
from segops.cli._lists import LISTS, NamedFile, in_force, put_on_lists
from segops.cli._params import INSTANT, formats
from segops.cli._say import say, say_all, say_text
from segops.config import load
from segops.core.errors import UserError
from segops.core.events import Change
from segops.core.segments import SegmentSet
from segops.core.values import format_instant
from segops.core.views.explain import Explanation, RulePart, SegmentExplanation, Thresholds
from segops.core.views.trace import Tracer
from segops.replay import Replay
from segops.schemas.identifying import limits_of
from segops.schemas.segments import load_checked
from segops.schemas.static_lists import bound
from segops.wall_clock import wall_ms

_EPILOG = """
\b
Examples:
  segops explain --segments segments/ --events events.jsonl --profile user_id:ann
  segops explain --segments vip.yaml --events - --profile user_id:ann --at 2026-03-02T12:00:00Z --format json
"""


def _json(explanation: Explanation) -> None:
    say_text(msgspec.json.format(msgspec.json.encode(explanation), indent=2).decode())


def _tree(explanation: Explanation) -> None:
    say(f"{explanation.profile_id} at {format_instant(explanation.now_ms)}")
    for segment in explanation.segments:
        say_all(["", *segment_lines(segment)])
    if explanation.indicators:
        say_all(["", "indicators", *(f"  {indicator_line(each)}" for each in explanation.indicators)])


def segment_lines(segment: SegmentExplanation) -> Iterator[str]:
    """Yield the lines that explain a profile in one segment."""
    name = "" if segment.name == segment.segment_key else f" ({segment.name})"
    yield f"{_sign(segment.member)} {segment.segment_key}{name}, version {segment.version}"
    yield f"  {_membership(segment)}"
    if segment.limits is not None and (limits := ", ".join(_limits(segment.limits))):
        yield f"  {limits}"
    if segment.complete_since is not None:
        since = format_instant(segment.complete_since)
        yield f"  complete for events since {since}; earlier ones, which its windows include, are unknown"
    yield from _branch(segment.rule, "  ", "")


def _membership(segment: SegmentExplanation) -> str:
    if not segment.member or segment.since is None:
        return f"not a member, {_end(segment)}"
    cause = "" if segment.event_id is None else f" because of event {segment.event_id}"
    return f"member since {format_instant(segment.since)}{cause}, {_end(segment)}"


def _limits(limits: Thresholds) -> Iterator[str]:
    if limits.stays_until is not None:
        yield f"stays at least until {format_instant(limits.stays_until)}"
    if limits.enters_from is not None:
        yield f"cannot enter before {format_instant(limits.enters_from)}"
    if limits.entries is not None:
        maximum = "" if limits.max_entries is None else f" of {limits.max_entries}"
        yield f"entries so far: {limits.entries}{maximum}"


def _end(segment: SegmentExplanation) -> str:
    if segment.rule.holds is None:
        return "unchanged: the rule cannot be evaluated"
    end = "indefinitely" if segment.flips_at is None else f"until {format_instant(segment.flips_at)}"
    return f"{end} if nothing more happens"


def _branch(part: RulePart, lead: str, below: str) -> Iterator[str]:
    yield f"{lead}{_sign(part.holds)} {_line(part)}"
    inner = lead.removesuffix("├─ ").removesuffix("└─ ") + below
    for number, child in enumerate(part.parts, 1):
        last = number == len(part.parts)
        yield from _branch(child, inner + ("└─ " if last else "├─ "), "   " if last else "│  ")


def _line(part: RulePart) -> str:
    ends = [f"since {format_instant(part.changed_at)}"] if part.changed_at is not None else []
    ends += [f"until {format_instant(part.changes_at)}"] if part.changes_at is not None else []
    ends += [part.note] if part.note else []
    return part.label + _found(part) + (f"  [{'; '.join(ends)}]" if ends else "")


def _found(part: RulePart) -> str:
    if part.holds is None:
        return ": cannot be evaluated"
    if part.threshold is None:
        return ""
    if part.parts:
        return f": {part.value}"
    return f": {'at least ' if part.value_is_least else ''}{shown(part.value)}"


def _sign(holds: bool | None) -> str:
    return {True: "✓", False: "✗", None: "?"}[holds]


_FORMATS: dict[str, Callable[[Explanation], None]] = {"tree": _tree, "json": _json}


@click.command(epilog=_EPILOG)
@click.option(
    "--segments",
    "segments",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path),
    help="File or folder of segments; may be repeated.",
)
@click.option(
    "--events",
    required=True,
    type=click.Path(path_type=Path, allow_dash=True),
    help="File of events (.jsonl, .jsonl.gz), or - for standard input.",
)
@click.option("--profile", "profile_id", required=True, metavar="ID", help="Profile id, such as user_id:ann.")
@LISTS
@click.option("--at", "at_ms", type=INSTANT, help="Instant to explain. Default: the time of the last event.")
@click.option("--segment", metavar="KEY", help="Explain only this segment.")
@formats(_FORMATS)
def command(
    *,
    segments: tuple[Path, ...],
    events: Path,
    profile_id: str,
    lists: tuple[NamedFile, ...],
    at_ms: int | None,
    segment: str | None,
    form: str,
) -> None:
    """Explain why a profile is or is not in its segments: each rule node, its value, and until when it holds.

    Reads events as `segops replay` does, up to the first one later than --at. Each node shows its verdict,
    its value, since when the verdict holds (blank: since before the first event) and when it changes if
    nothing more happens. A segment says if one of its windows begins before the first event of FILE. The
    published indicators follow, unless --segment is given. Values of the profile's events that the rules
    cannot read are listed on standard error.
    """
    known = SegmentSet(bound(load_checked(segments).all_definitions, in_force(lists)))
    if segment is not None and segment not in known.by_key:
        raise UserError(f"unknown segment {segment!r}; known segments: {', '.join(sorted(known.by_key))}")
    follower = Tracer(known, None if segment is None else (segment,), profile_id=profile_id)
    replay = Replay(follower.segments, wall_ms=wall_ms(), engine=follower, limits=limits_of(load()))
    put_on_lists(replay, lists, limits_of(load()))
    read = Input(events, replay)
    first_ms = _apply(replay, read, profile_id, at_ms)
    found = follower.explain(replay.profiles[profile_id], replay.clock_ms or 0, first_ms=first_ms)
    if segment is not None:
        chosen = tuple(each for each in found.segments if each.segment_key == segment)
        found = msgspec.structs.replace(found, segments=chosen, indicators=())
    _FORMATS[form](found)
    for note in read.skipped_of(profile_id):
        say(note, err=True)


def _apply(replay: Replay, read: Input, profile_id: str, at_ms: int | None) -> int | None:
    """Replay all events, since other profiles may merge into this one; return the time of the first.

    Raises UserError if the profile has no event.
    """
    alike: set[str] = set()
    first_ms: int | None = None
    for owner, event in read:
        if at_ms is not None and event.time_ms > at_ms:
            break
        first_ms = event.time_ms if first_ms is None else min(first_ms, event.time_ms)
        _drain(replay.apply(owner, event))
        alike.update({owner} if owner.partition(":")[2] == profile_id else ())
    profile = replay.profiles.get(profile_id)
    if profile is not None and profile.merged_into is not None:
        raise UserError(f"profile {profile_id!r} was merged into {profile.merged_into!r}; explain that one")
    if profile is None or profile.first_ms is None:
        raise UserError(_unknown(profile_id, alike, at_ms))
    if at_ms is not None:
        _drain(replay.advance(at_ms))
    return first_ms


def _drain(changes: Iterator[Change]) -> None:
    for _ in changes:
        pass


def _unknown(profile_id: str, alike: set[str], at_ms: int | None) -> str:
    until = "" if at_ms is None else f" up to {format_instant(at_ms)}"
    hint = f"; did you mean {' or '.join(sorted(alike))}?" if alike else ""
    return f"profile {profile_id!r} has no event{until}{hint}"
