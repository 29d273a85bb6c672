"""Events of a file for a replay by the kernel, which applies most of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from segops.cli._input import Input
from segops.cli._lines import events_in, read_chunks
from segops.cli._say import say_all, say_block
from segops.core.events import Change, Event
from segops.core.skips import Skip
from segops.native_replay import NativeReplay, Stopped
from segops.schemas.changes import encode_change

#: Called with the profile id and event of a line that was applied, and the clock in milliseconds before it.
Note = Callable[[str, Event, int], None]


class NativeInput(Input):
    """An ``Input`` that yields only the events that the kernel leaves to Python; the others are applied.

    ``show`` prints the changes of these others, in processing order; None: as they are published. ``stop_ms``
    returns the instant from which on events are Python's, and ``note``, if it returns a function, gets each
    event before it.
    """

    def __init__(
        self,
        path: Path,
        replay: NativeReplay,
        show: Callable[[Change], str] | None,
        *,
        stop_ms: Callable[[], int | None] = lambda: None,
        note: Callable[[], Note | None] = lambda: None,
    ) -> None:
        super().__init__(path, replay)
        self._native, self._show, self._stop_ms, self._note = replay, show, stop_ms, note

    def __iter__(self) -> Iterator[tuple[str, Event]]:
        number = 0
        for text in read_chunks(self._path):
            at = 0
            while at < len(text):
                stopped = self._feed(text, at, number)
                at, number = stopped.at, stopped.number
                if at < len(text) and stopped.reason is not None:
                    line = text[at:].partition(b"\n")[0]
                    at, number = at + len(line) + 1, number + 1
                    for found in events_in(line.rstrip(b"\r\n"), number):
                        yield from self._read(found)
                self._native.give_back()

    def _feed(self, text: bytes, at: int, number: int) -> Stopped:
        """Apply lines, print their changes, and survey their events."""
        replay, note = self._native, self._note()
        clock_ms = replay.clock_ms
        stopped = replay.feed_lines(text, at, number, before_ms=self._stop_ms(), note_all=note is not None)
        self._print()
        skipped: dict[Skip, str] = {}
        for owner, event in replay.take_events(text):
            self._note_skipped(skipped)
            skipped = dict.fromkeys(self.survey.observe(event), owner)
            if note is not None:
                note(owner, event, clock_ms or 0)
                clock_ms = event.time_ms if clock_ms is None else max(clock_ms, event.time_ms)
        say_all(map(self._show or published, replay.deliver_rest()))  # of the last of these events
        self._note_skipped(skipped | {skip: profile_id for profile_id, skip in replay.take_skipped()})
        return stopped

    def _print(self) -> None:
        if self._show is None:
            say_block(self._native.take_text())
        else:
            say_all(map(self._show, self._native.take_changes()))


def published(change: Change) -> str:
    """Return a change as it is published."""
    return encode_change(change, change.occurred_at).decode()
