"""Events of a file for a replay, and the notes about them on standard error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from segops.cli._lines import Found, read_events
from segops.cli._say import say
from segops.core import skips
from segops.core.errors import RejectedEvent
from segops.core.events import Event
from segops.core.skips import Skip
from segops.core.survey import Survey
from segops.replay import Replay
from segops.schemas import repairs


class Input:
    """Iterates over the events of a file, each with its profile id, without applying them.

    Invalid events are reported on standard error and counted in ``rejected`` by reason. ``skipped`` holds, by
    profile, the values that rules could not read: apply each event before reading the next.
    """

    def __init__(self, path: Path, replay: Replay) -> None:
        self.survey = Survey(replay.engine.segments.all_definitions)
        self.rejected: Counter[str] = Counter()
        self.skipped: dict[str, Counter[Skip]] = {}
        self._path = path
        self._replay = replay

    def __iter__(self) -> Iterator[tuple[str, Event]]:
        for found in read_events(self._path):
            yield from self._read(found)

    def _read(self, found: Found) -> Iterator[tuple[str, Event]]:
        """Yield the event, unless it is invalid."""
        replay = self._replay
        try:
            owner, event = replay.read(found.value, default_id=found.default_id)
        except RejectedEvent as error:
            self.rejected[error.reason] += 1
            say(f"{self._path}: {found.location}: {error}", err=True)
            return
        skipped = dict.fromkeys(self.survey.observe(event), owner)
        yield owner, event
        self._note_skipped(skipped | {skip: profile_id for profile_id, skip in replay.take_skipped()})

    def _note_skipped(self, skipped: Mapping[Skip, str]) -> None:
        for skip, profile_id in skipped.items():
            self.skipped.setdefault(profile_id, Counter())[skip] += 1

    def notes(self) -> Iterator[str]:
        """Yield a line per kind of repair, per kind of skipped value and per path that no event had."""
        replay = self._replay
        yield from repairs.sentences(replay.repairs)
        if replay.clamped:
            events = "1 event" if replay.clamped == 1 else f"{replay.clamped:,} events"
            yield f"time: {events} too far ahead of receivedAt or of the wall clock, clamped"
        skipped: Counter[Skip] = Counter()
        for each in self.skipped.values():
            skipped.update(each)
        yield from skips.sentences(skipped)
        yield from self.survey.suggestions()
        yield from self.survey.unknown_keys()
        yield from self.survey.paths_never_met()

    def skipped_of(self, profile_id: str) -> Iterator[str]:
        """Yield a line per kind of value skipped for a profile or for profiles merged into it."""
        skipped: Counter[Skip] = Counter()
        for owner, each in self.skipped.items():
            profile = self._replay.profiles.get(owner)
            while profile is not None and profile.merged_into is not None:
                profile = self._replay.profiles.get(profile.merged_into)
            if profile is not None and profile.id == profile_id:
                skipped.update(each)
        return skips.sentences(skipped)
