"""All that is left when the workers have ended: the topics, the offsets, the stores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segops.config import Settings
from segops.core.errors import StateError
from segops.core.segments import Definition
from segops.stores.rocksdb import RocksDBStores

from .inspector import Committed, KafkaInspector, Place, places_of

EXACTLY_ONCE = "exactly_once"
#: Far later than any timer.
_ALL_DUE_MS = 1 << 60
_MANY = 1_000_000


@dataclass
class StoreFound:
    """One RocksDB store of one worker; ``problem`` when it could not be opened."""

    folder: str
    partition: int
    states: dict[str, bytes] = field(default_factory=dict)
    due: list[tuple[int, str]] = field(default_factory=list)
    changelog_offset: int = -1
    problem: str = ""


@dataclass
class Circumstances:
    """What was done to the system, as far as the checks must know.

    ``poison``: the places of records that must end as dead letters. ``gone``: input deleted on purpose,
    by partition the first offset that was left. ``loose``: checks which the fault itself makes void.
    ``unchanged``: segments whose definition changed meanwhile are not among them.
    """

    mode: str
    crashes: int = 0
    checkpoint_records: int = 0
    poison: set[str] = field(default_factory=set)
    gone: dict[int, int] = field(default_factory=dict)
    loose: set[str] = field(default_factory=set)
    unchanged: set[str] = field(default_factory=set)
    recovery_s: list[float] = field(default_factory=list)
    budget_s: float = 45.0


@dataclass
class Evidence:
    """Everything, read once."""

    settings: Settings
    definitions: list[Definition]
    happened: Circumstances
    committed: Committed
    visible: dict[Place, list[Any]]
    raw: dict[Place, list[Any]]
    ends: dict[Place, int]
    stable: dict[Place, int]
    stores: list[StoreFound]
    strays: list[str]

    @property
    def partitions(self) -> range:
        """The numbers of the partitions."""
        return range(self.settings.topics.partitions)

    @property
    def exactly_once(self) -> bool:
        """Whether the workers ran in that mode."""
        return self.happened.mode == EXACTLY_ONCE

    def log(self, topic: str, partition: int) -> list[Any]:
        """What a reader of committed records sees."""
        return self.visible[topic, partition]

    def all_of(self, topic: str, *, raw: bool = False) -> Iterator[Any]:
        """The records of all partitions of a topic, partition by partition."""
        for partition in self.partitions:
            yield from (self.raw if raw else self.visible)[topic, partition]


def topics_of(settings: Settings) -> list[str]:
    """The topics that are looked at."""
    topics = settings.topics
    return [
        topics.events,
        topics.profile_events,
        topics.membership_changes,
        topics.membership_state,
        topics.dead_letters,
        settings.worker.changelog,
    ]


def gather(
    settings: Settings,
    definitions: list[Definition],
    happened: Circumstances,
    eyes: KafkaInspector,
    folders: Sequence[Path],
) -> Evidence:
    """Read it all. ``folders``: the workers' data folders; no worker may run."""
    places = places_of(topics_of(settings), settings.topics.partitions)
    return Evidence(
        settings=settings,
        definitions=definitions,
        happened=happened,
        committed=eyes.committed(),
        visible=eyes.read(places, "read_committed"),
        raw=eyes.read(places, "read_uncommitted"),
        ends=eyes.ends(places),
        stable=eyes.ends(places, "read_committed"),
        stores=[found for folder in folders for found in _stores(folder)],
        strays=[stray for folder in folders for stray in _strays(folder, settings.topics.partitions)],
    )


def _profiles(folder: Path) -> Path:
    return folder / "worker-0" / "profiles"


def _strays(folder: Path, partitions: int) -> list[str]:
    wanted = {str(number) for number in range(partitions)}
    return [str(path) for path in sorted(_profiles(folder).glob("*")) if path.name not in wanted]


def _stores(folder: Path) -> Iterator[StoreFound]:
    stores = RocksDBStores(_profiles(folder), block_cache_bytes=1 << 20, write_buffer_bytes=8 << 20)
    for path in sorted(_profiles(folder).glob("*")):
        if path.name.isdigit():
            yield _store(stores, folder.name, int(path.name))


def _store(stores: RocksDBStores, folder: str, partition: int) -> StoreFound:
    found = StoreFound(folder, partition)
    try:
        store = stores.open(partition)
    except StateError as error:
        found.problem = str(error)
        return found
    try:
        ids = store.profile_ids(None, _MANY)
        found.states = {i: s for i, s in zip(ids, store.get_many(ids), strict=True) if s is not None}
        found.due = store.due(_ALL_DUE_MS, _MANY)
        found.changelog_offset = int(store.meta("changelog_offset") or b"-1")
    except StateError as error:
        found.problem = str(error)
    finally:
        store.close()
    return found
