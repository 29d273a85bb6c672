"""Events from the archive of profile events, for training in one go."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from pathlib import Path

from segops.archive.reading import logs_in
from segops.config import Settings
from segops.core.events import Event
from segops.schemas.identifying import limits_of
from segops.training.records import read


def archived_events(
    folder: Path, settings: Settings, context_keys: frozenset[str]
) -> Iterator[tuple[str, Event]]:
    """Yield the archived events of all partitions, each with its profile, by time as far as logs are.

    Raises UserError if the folder has no archive of this application's profile events, and ArchiveError if a
    file is damaged. Erased records are not there.
    """
    logs = (
        read(number, log, limits=limits_of(settings), context_keys=context_keys)
        for number, log in enumerate(logs_in(folder, settings.topics.profile_events))
    )
    for _, each in heapq.merge(*logs, key=lambda found: found[0]):
        if each.profile is not None and each.event is not None:
            yield each.profile, each.event
