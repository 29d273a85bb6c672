"""``segops explain``: why a profile is in a segment or not, from a file of events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from segops.cli._input import Input
from segops.cli._params import INSTANT
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
from segops.schemas.segments import load as load_segments
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
    for standing in explanation.segments:
        say_all(["", *_standing(standing)])


def _standing(standing: SegmentExplanation) -> Iterator[str]:
    name = "" if standing.name == standing.segment_key else f" ({standing.name})"
    yield f"{_sign(standing.member)} {standing.segment_key}{name}, version {standing.version}"
    yield f"  {_membership(standing)}"
    if standing.limits is not None and (limits := ", ".join(_limits(standing.limits))):
        yield f"  {limits}"
    yield from _branch(standing.rule, "  ", "")


def _membership(standing: SegmentExplanation) -> str:
    if not standing.member or standing.since is None:
        return f"no member, {_end(standing)}"
    cause = "" if standing.event_id is None else f" because of event {standing.event_id}"
    return f"member since {format_instant(standing.since)}{cause}, {_end(standing)}"


def _limits(limits: Thresholds) -> Iterator[str]:
    if limits.stays_until is not None:
        yield f"stays until {format_instant(limits.stays_until)} at least"
    if limits.enters_from is not None:
        yield f"may not enter before {format_instant(limits.enters_from)}"
    if limits.entries is not None:
        most = "" if limits.max_entries is None else f" of {limits.max_entries}"
        yield f"entries so far: {limits.entries}{most}"


def _end(standing: SegmentExplanation) -> str:
    if standing.rule.holds is None:
        return "as before: the rule cannot be evaluated"
    end = "for ever" if standing.flips_at is None else f"until {format_instant(standing.flips_at)}"
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
    return f": {'at least ' if part.value_is_least else ''}{_shown(part.value)}"


def _shown(value: Any) -> str:
    if value is None:
        return "missing"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


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
    help="A file or folder of segments; give it again for more.",
)
@click.option(
    "--events",
    required=True,
    type=click.Path(path_type=Path, allow_dash=True),
    help="A file of events (.jsonl, .jsonl.gz), or - for the standard input.",
)
@click.option("--profile", "profile_id", required=True, metavar="ID", help="As in user_id:ann.")
@click.option(
    "--at", "at_ms", type=INSTANT, help="The instant to explain; without it, that of the last event."
)
@click.option("--segment", metavar="KEY", help="Explain this segment only.")
@click.option(
    "--format",
    "form",
    type=click.Choice(list(_FORMATS)),
    default="tree",
    show_default=True,
    help="How it is printed.",
)
def command(
    segments: tuple[Path, ...],
    events: Path,
    profile_id: str,
    at_ms: int | None,
    segment: str | None,
    form: str,
) -> None:
    """Say why a profile is in its segments or not: every node of their rules, what it finds, and until when.

    Reads events as `segops replay` does, up to the first that is later than --at. A node shows its verdict,
    its value, since when it has stood so (nothing: since before the first event) and when it changes if
    nothing more happens. Standard error tells which values of the profile's events the rules cannot read.
    """
    known = SegmentSet(load_segments(segments))
    if segment is not None and segment not in known.by_key:
        raise UserError(f"there is no segment {segment!r}; there are: {', '.join(sorted(known.by_key))}")
    follower = Tracer(known, None if segment is None else (segment,), profile_id=profile_id)
    replay = Replay(follower.segments, wall_ms=wall_ms(), engine=follower, limits=limits_of(load()))
    read = Input(events, replay)
    _apply(replay, read, profile_id, at_ms)
    found = follower.explain(replay.profiles[profile_id], replay.clock_ms or 0)
    if segment is not None:
        chosen = tuple(standing for standing in found.segments if standing.segment_key == segment)
        found = msgspec.structs.replace(found, segments=chosen)
    _FORMATS[form](found)
    for note in read.skipped_of(profile_id):
        say(note, err=True)


def _apply(replay: Replay, read: Input, profile_id: str, at_ms: int | None) -> None:
    """Replay all events: others' may become this profile's. Raises UserError if the profile has none."""
    alike: set[str] = set()
    for owner, event in read:
        if at_ms is not None and event.time_ms > at_ms:
            break
        _work_off(replay.apply(owner, event))
        alike.update({owner} if owner.partition(":")[2] == profile_id else ())
    profile = replay.profiles.get(profile_id)
    if profile is not None and profile.merged_into is not None:
        raise UserError(f"the profile {profile_id!r} is part of {profile.merged_into!r}: explain that one")
    if profile is None or profile.first_ms is None:
        raise UserError(_unknown(profile_id, alike, at_ms))
    if at_ms is not None:
        _work_off(replay.advance(at_ms))


def _work_off(changes: Iterator[Change]) -> None:
    for _ in changes:
        pass


def _unknown(profile_id: str, alike: set[str], at_ms: int | None) -> str:
    until = "" if at_ms is None else f" up to {format_instant(at_ms)}"
    hint = f"; did you mean {' or '.join(sorted(alike))}?" if alike else ""
    return f"the profile {profile_id!r} has no event{until}{hint}"
