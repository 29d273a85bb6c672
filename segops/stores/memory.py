"""A profile store in memory, for tests and replays. Its factory keeps the contents after ``close``."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence

from segops.core.errors import StateError, StoreInUseError
from segops.stores.base import Due, ProfileStore, Row, RowWrite, Write


class _Contents:
    def __init__(self) -> None:
        self.states: dict[str, bytes] = {}
        self.due: list[tuple[int, str]] = []
        self.meta: dict[str, bytes] = {}
        self.rows: dict[str, dict[bytes, bytes]] = {}
        self.is_open = False


class MemoryStore:
    """One partition's profiles in a dict and a sorted list."""

    needs_compaction = False

    def __init__(self, name: str, contents: _Contents) -> None:
        if contents.is_open:
            raise StoreInUseError(f"{name} is in use")
        contents.is_open = True
        self._name = name
        self._opened: _Contents | None = contents

    @property
    def _contents(self) -> _Contents:
        if self._opened is None:
            raise StateError(f"{self._name} is closed")
        return self._opened

    def get_many(self, profile_ids: Sequence[str]) -> list[bytes | None]:
        states = self._contents.states
        return [states.get(profile_id) for profile_id in profile_ids]

    def write(
        self, writes: Iterable[Write], meta: Mapping[str, bytes], rows: Iterable[RowWrite] = ()
    ) -> None:
        contents, of_past = self._contents, list(rows)
        for write in list(writes):  # a failing iterable must change nothing
            if write.state is None:
                contents.states.pop(write.profile_id, None)
            else:
                contents.states[write.profile_id] = write.state
            _move_due(contents.due, write)
        for row in of_past:
            known = contents.rows.setdefault(row.owner, {})
            if row.value is None:
                known.pop(row.name, None)
            else:
                known[row.name] = row.value
        contents.meta.update(meta)

    def rows(self, owner: str) -> list[tuple[bytes, bytes]]:
        return sorted(self._contents.rows.get(owner, {}).items())

    def row_owners(self, after: str | None, limit: int) -> list[str]:
        ids = sorted(owner for owner, rows in self._contents.rows.items() if rows)
        start = 0 if after is None else bisect_right(ids, after)
        return ids[start : start + limit]

    def clear_rows(self, meta: Mapping[str, bytes]) -> None:
        self._contents.rows.clear()
        self._contents.meta.update(meta)

    def load(self, rows: Iterable[Row], meta: Mapping[str, bytes]) -> None:
        self.write([Write(key.decode(), state, old, new) for key, state, old, new in rows], meta)

    def flush(self) -> None:
        """Do nothing: there is no buffer."""

    def due(self, until_ms: int, limit: int, after: Due | None = None) -> list[Due]:
        due = self._contents.due
        start = 0 if after is None else bisect_right(due, after)
        return due[start : max(start, min(start + limit, bisect_left(due, (until_ms + 1, ""))))]

    def profile_ids(self, after: str | None, limit: int) -> list[str]:
        ids = sorted(self._contents.states)
        start = 0 if after is None else bisect_right(ids, after)
        return ids[start : start + limit]

    def meta(self, name: str) -> bytes | None:
        return self._contents.meta.get(name)

    def close(self) -> None:
        if self._opened is not None:
            self._opened.is_open = False
        self._opened = None

    def destroy(self) -> None:
        if self._opened is not None:
            self._opened.states.clear()
            self._opened.due.clear()
            self._opened.meta.clear()
            self._opened.rows.clear()
        self.close()


def _move_due(due: list[tuple[int, str]], write: Write) -> None:
    if write.old_due_ms is not None:
        old = (write.old_due_ms, write.profile_id)
        at = bisect_left(due, old)
        if at < len(due) and due[at] == old:
            del due[at]
    if write.new_due_ms is not None:
        new = (write.new_due_ms, write.profile_id)
        at = bisect_left(due, new)
        if at == len(due) or due[at] != new:
            insort(due, new)


class MemoryStores:
    """Memory stores by partition. Their contents survive closing and reopening."""

    def __init__(self) -> None:
        self._by_partition: dict[int, _Contents] = {}

    def open(self, partition: int) -> ProfileStore:
        contents = self._by_partition.setdefault(partition, _Contents())
        return MemoryStore(f"profile store {partition} in memory", contents)
