"""The addresses of a delivery at which something may be due, in the order in which they came."""

from __future__ import annotations

from heapq import heappop, heappush


class Queue:
    """Waiting entries by id. An id waits once, however often it is added."""

    def __init__(self) -> None:
        self._ready: dict[str, int] = {}
        self._delayed: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._ready) + len(self._delayed)

    def add(self, entry_id: str, now_ms: int) -> None:
        """Add an id, unless it is ready already."""
        self._ready.setdefault(entry_id, now_ms)

    def delay(self, entry_id: str, until_ms: int) -> None:
        """Add an id that is ready at an instant."""
        heappush(self._delayed, (until_ms, entry_id))

    def take(self, most: int, now_ms: int) -> list[str]:
        """Remove and return at most ``most`` ids that are ready.

        >>> queue = Queue()
        >>> queue.add("a", 0); queue.add("b", 0); queue.delay("c", 5)
        >>> queue.take(1, 0), queue.take(9, 4), queue.take(9, 5)
        (['a'], ['b'], ['c'])
        """
        while self._delayed and self._delayed[0][0] <= now_ms:
            at_ms, entry_id = heappop(self._delayed)
            self._ready.setdefault(entry_id, at_ms)
        taken: list[str] = []
        for entry_id in self._ready:
            if len(taken) == most:
                break
            taken.append(entry_id)
        for entry_id in taken:
            del self._ready[entry_id]
        return taken

    def next_ms(self) -> int | None:
        """Return when the next id is ready; None: none waits."""
        if self._ready:
            return 0
        return self._delayed[0][0] if self._delayed else None

    def oldest_ms(self) -> int | None:
        """Return since when the oldest ready id waits."""
        return next(iter(self._ready.values()), None)
