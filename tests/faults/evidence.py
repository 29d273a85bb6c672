"""Everything that the workers left behind: topics, committed offsets and stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segops.config import Settings
from segops.core.errors import StateError
from segops.core.segments import Definition
from segops.stores.rocksdb import RocksDBStores

from .inspector import Committed, KafkaInspector, Partition, partitions_of

EXACTLY_ONCE = "exactly_once"
#: Later than any timer.
_ALL_DUE_MS = 1 << 60
_NO_LIMIT = 1_000_000


@dataclass
class StoreFound:
    """One RocksDB store of one worker; ``problem`` is the error if it could not be read."""

    folder: str
    partition: int
    states: dict[str, bytes] = field(default_factory=dict)
    due: list[tuple[int, str]] = field(default_factory=list)
    changelog_offset: int = -1
    problem: str = ""


@dataclass
class Circumstances:
    """What a fault did to the system, as far as the checks depend on it.

    ``poison``: the origins (``topic:partition:offset``) of records that must become dead letters.
    ``deleted_before``: by partition, the first offset left after input was deleted on purpose.
    ``skipped_checks``: names of checks that the fault invalidates.
    ``true_segments``: keys of the segments whose final members are those of the slow evaluator.
    ``adopts``: definitions were published while workers ran.
    ``sizes``: the sizes, minutes and alerts of segments are read and verified, too.
    ``more_checks``: checks of this fault alone, by name.
    """

    mode: str
    crashes: int = 0
    checkpoint_records: int = 0
    poison: set[str] = field(default_factory=set)
    deleted_before: dict[int, int] = field(default_factory=dict)
    skipped_checks: set[str] = field(default_factory=set)
    true_segments: set[str] = field(default_factory=set)
    adopts: bool = False
    sizes: bool = False
    more_checks: dict[str, Callable[[Any], Iterator[Any]]] = field(default_factory=dict)
    recovery_s: list[float] = field(default_factory=list)
    budget_s: float = 45.0


@dataclass
class Evidence:
    """The contents of topics, offsets and stores, read once."""

    settings: Settings
    definitions: list[Definition]
    circumstances: Circumstances
    committed: Committed
    visible: dict[Partition, list[Any]]
    raw: dict[Partition, list[Any]]
    ends: dict[Partition, int]
    stable: dict[Partition, int]
    stores: list[StoreFound]
    strays: list[str]

    @property
    def partitions(self) -> range:
        """The partition numbers."""
        return range(self.settings.topics.partitions)

    @property
    def exactly_once(self) -> bool:
        """Whether the workers ran with the exactly-once guarantee."""
        return self.circumstances.mode == EXACTLY_ONCE

    def log(self, topic: str, partition: int) -> list[Any]:
        """Return the records that a read_committed consumer sees."""
        return self.visible[topic, partition]

    def all_of(self, topic: str, *, raw: bool = False) -> Iterator[Any]:
        """Yield the records of a topic, partition by partition; with ``raw``, uncommitted ones too."""
        for partition in self.partitions:
            yield from (self.raw if raw else self.visible)[topic, partition]


def topics_of(settings: Settings) -> list[str]:
    """Return the topics that the checks read."""
    topics = settings.topics
    return [
        topics.events,
        topics.profile_events,
        topics.membership_changes,
        topics.membership_state,
        topics.dead_letters,
        settings.worker.changelog,
    ]


def collect_evidence(
    settings: Settings,
    definitions: list[Definition],
    circumstances: Circumstances,
    inspector: KafkaInspector,
    *,
    folders: Sequence[Path],
    only: Sequence[str] = (),
) -> Evidence:
    """Read all evidence, or ``only`` these topics.

    ``folders`` are the workers' data folders; no worker may be running on them.
    """
    partitions = partitions_of(only or topics_of(settings), settings.topics.partitions)
    if circumstances.sizes and not only:
        of_sizes = [settings.topics.sizes, settings.topics.trends]
        partitions += [*partitions_of(of_sizes, settings.topics.partitions), (settings.topics.alerts, 0)]
    return Evidence(
        settings=settings,
        definitions=definitions,
        circumstances=circumstances,
        committed=inspector.committed(),
        visible=inspector.read(partitions, "read_committed"),
        raw=inspector.read(partitions, "read_uncommitted"),
        ends=inspector.ends(partitions),
        stable=inspector.ends(partitions, "read_committed"),
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
        ids = store.profile_ids(None, _NO_LIMIT)
        found.states = {i: s for i, s in zip(ids, store.get_many(ids), strict=True) if s is not None}
        found.due = store.due(_ALL_DUE_MS, _NO_LIMIT)
        found.changelog_offset = int(store.meta("changelog_offset") or b"-1")
    except StateError as error:
        found.problem = str(error)
    finally:
        store.close()
    return found
