"""``segops replay``: membership changes from a file, without Kafka."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import click

from segops.cli._input import Input
from segops.cli._lists import LISTS, NamedFile, in_force, put_on_lists
from segops.cli._models import MODEL_FILE
from segops.cli._native_input import NativeInput, Note, published
from segops.cli._params import INSTANT, formats
from segops.cli._say import say, say_all
from segops.config import load
from segops.core.audiences.compiling import definition_of
from segops.core.events import Change, Event
from segops.core.segments import Definition, SegmentSet, edited
from segops.core.survey import Survey
from segops.core.values import format_instant
from segops.kernel import chosen
from segops.native_replay import NativeReplay
from segops.replay import Publication, Replay
from segops.schemas.identifying import IdentityLimits, limits_of
from segops.schemas.indicators import line_of
from segops.schemas.model_files import load_models
from segops.schemas.segments import Loaded, load_checked, load_drafts
from segops.schemas.static_lists import bound
from segops.wall_clock import wall_ms

_EPILOG = """
\b
Examples:
  segops replay --segments segments/ --events events.jsonl.gz
  zcat history.gz | segops replay --segments vip.yaml --events - --until 2026-01-31 --format table
  segops replay --segments segments/ --events events.jsonl --apply edited.yaml --at 2026-01-15
"""


def _row(change: Change) -> str:
    flips_at = "never" if change.flips_at is None else format_instant(change.flips_at)
    begin = f"{format_instant(change.occurred_at)}  {change.action:<7}  {change.segment_key:<24}"
    return f"{begin}  {change.reason:<10}  {flips_at:<24}  {change.profile_id}"


_FORMATS: dict[str, Callable[[Change], str]] = {
    "jsonl": published,
    "table": _row,
}
_HEADING = f"{'occurred at':<24}  {'action':<7}  {'segment':<24}  {'reason':<10}  {'flips at':<24}  profile"


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
@click.option(
    "--apply",
    "applied",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Publish these segments, too, when the clock reaches --at; may be repeated.",
)
@click.option("--at", "at_ms", type=INSTANT, help="The instant of --apply.")
@click.option(
    "--models",
    "model_files",
    multiple=True,
    metavar="FILE",
    type=MODEL_FILE,
    help="A model whose scores the segments read; may be repeated. Without it, scores of models are missing.",
)
@LISTS
@click.option("--until", type=INSTANT, help="Advance the clock to this instant after the last event.")
@formats(_FORMATS, default="jsonl", note="jsonl prints the records as they are published")
@click.option(
    "--indicators",
    "indicators",
    type=click.File("wb", lazy=False),
    help="Also write the published values of indicators to this file, one per line (- for standard output).",
)
@click.option("--strict", is_flag=True, help="Exit with status 1 if an event was invalid.")
def command(
    *,
    segments: tuple[Path, ...],
    events: Path,
    applied: tuple[Path, ...],
    at_ms: int | None,
    model_files: tuple[Path, ...],
    lists: tuple[NamedFile, ...],
    until: int | None,
    form: str,
    indicators: BinaryIO | None,
    strict: bool,
) -> None:
    """Print the membership changes that the events cause, one per line, in processing order.

    Events are in Segment's format, in order of arrival; the clock is the greatest event time so far. A line
    may be a body with a "batch" of events. Invalid events, repaired parts of events and values that the rules
    cannot read are reported on standard error. The segments of --apply take the place of those with the same
    keys, after all events up to --at, and all of these events count for them. The lists of --list are there
    from the beginning, and so are the --models. Audiences in the files are evaluated under the keys
    audience.KEY.

    --indicators writes the values as they are published to the indicators topic. A value that is missing from
    then on, a tombstone there, is written as null.
    """
    if bool(applied) != (at_ms is not None):
        raise click.UsageError("expected --apply and --at together")
    static, models, limits = in_force(lists), load_models(model_files), limits_of(load())
    found = bound(_definitions(load_checked(segments, models), indicators), static)
    replay = begun(SegmentSet(found), limits, indicators)
    put_on_lists(replay, lists, limits)
    later = SegmentSet(edited(found, bound(_definitions(load_drafts(applied, models), indicators), static)))
    edit = None if at_ms is None else Edit(replay, later, at_ms)
    if form == "table":
        say(_HEADING)
    read = run(replay, events, edit, form=form, until=until, indicators=indicators)
    _report(read, edit, strict=strict)


def run(
    replay: Replay,
    events: Path,
    edit: Edit | None,
    *,
    form: str = "jsonl",
    until: int | None = None,
    indicators: BinaryIO | None = None,
) -> Input:
    """Apply the events of a file, print the changes, and return what was read."""
    read, show = _input(events, replay, form, edit), _FORMATS[form]
    for owner, event in read:
        if edit is not None:
            _print(edit.before(owner, event), show)
        _print(replay.apply(owner, event), show)
        _write(replay, indicators)
    if edit is not None:
        _print(edit.reach(max(until or 0, replay.clock_ms or 0)), show)
    if until is not None:
        _print(replay.advance(until), show)
    _write(replay, indicators)
    return read


def begun(segments: SegmentSet, limits: IdentityLimits, indicators: BinaryIO | None = None) -> Replay:
    """Return a replay that has read nothing, by the kernel if the settings allow it."""
    wall, native = wall_ms(), chosen(load().engine.kernel)
    # Values of indicators on standard output come between the changes, as each event causes them.
    if native is None or (indicators is not None and indicators is sys.stdout.buffer):
        return Replay(segments, wall_ms=wall, limits=limits)
    survey = Survey(segments.all_definitions)
    return NativeReplay(segments, native=native, survey=survey, wall_ms=wall, limits=limits)


def _input(events: Path, replay: Replay, form: str, edit: Edit | None) -> Input:
    if not isinstance(replay, NativeReplay):
        return Input(events, replay)
    show = None if form == "jsonl" else _FORMATS[form]
    if edit is None:
        return NativeInput(events, replay, show)
    return NativeInput(events, replay, show, stop_ms=edit.stop_ms, note=edit.note)


def _definitions(loaded: Loaded, indicators: BinaryIO | None) -> list[Definition]:
    """Return the segments, the rules of the audiences, and the indicators if their values are written."""
    consents = load().audiences.consents
    found = loaded.definitions if indicators is None else loaded.all_definitions
    return [*found, *(definition_of(each, consents) for each in loaded.audiences)]


def _write(replay: Replay, indicators: BinaryIO | None) -> None:
    if indicators is not None:
        indicators.writelines(line_of(value) + b"\n" for value in replay.take_values())


class Edit:
    """The publication of ``--apply`` when the clock reaches ``--at``."""

    def __init__(self, replay: Replay, segments: SegmentSet, at_ms: int) -> None:
        self._replay, self._at_ms = replay, at_ms
        self._publication: Publication | None = Publication(replay, segments)

    def before(self, owner: str, event: Event) -> Iterator[Change]:
        """Yield what comes before an event: it is history, or the first one after the publication."""
        yield from self.reach(event.time_ms - 1)
        if self._publication is not None:
            self._publication.note(owner, event, arrival_ms=self._replay.clock_ms or 0)

    def stop_ms(self) -> int | None:
        """Return the time of the first event that may come after the publication; None: it is past."""
        return None if self._publication is None else self._at_ms + 1

    def note(self) -> Note | None:
        """Return what keeps an event as history, given its profile and arrival; None: nothing needs it."""
        publication = self._publication
        if publication is None or not publication.needs_history:
            return None
        return lambda owner, event, arrival_ms: publication.note(owner, event, arrival_ms=arrival_ms)

    def reach(self, clock_ms: int) -> Iterator[Change]:
        """Publish if the clock advances to --at, or beyond; yield the changes until then."""
        publication = self._publication
        if publication is not None and clock_ms >= self._at_ms:
            self._publication = None
            yield from self._replay.advance(self._at_ms)
            yield from publication.adopt()

    def notes(self) -> Iterator[str]:
        """Yield a line if nothing was published."""
        if self._publication is not None:
            yield f"nothing was published: the clock did not reach {format_instant(self._at_ms)} (--at)"


def _report(read: Input, edit: Edit | None, *, strict: bool) -> None:
    for note in (*read.notes(), *(() if edit is None else edit.notes())):
        say(note, err=True)
    rejected = read.rejected.total()
    if rejected:
        say(f"{rejected} invalid events", err=True)
        sys.exit(1 if strict else 0)


def _print(changes: Iterable[Change], show: Callable[[Change], str]) -> None:
    say_all(map(show, changes))
