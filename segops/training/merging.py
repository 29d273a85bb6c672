"""The partitions of a topic as one stream in order of time, as far as they are read."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Merger(Generic[T]):
    """Queues of partitions, whose items come out by time.

    A trainer that reads a long history gets partitions at different paces. Were they not merged, the clock
    would run ahead with one of them, and all events of the others would be late.
    """

    def __init__(self, partitions: Collection[int]) -> None:
        self._queues: dict[int, deque[tuple[int, T]]] = {each: deque() for each in partitions}

    def add(self, partition: int, items: Sequence[tuple[int, T]]) -> None:
        """Add the next items of a partition, each with its time in ms, in the order of its log."""
        self._queues[partition] += items

    @property
    def empty(self) -> list[int]:
        """The partitions of which nothing waits: more of them must be read, or be known not to exist."""
        return [each for each, queue in self._queues.items() if not queue]

    def ready(self, ended: Collection[int]) -> Iterator[T]:
        """Yield the items that come before all that may still come; ``ended``: partitions read to their ends.

        >>> merger = Merger[str]([0, 1])
        >>> merger.add(0, [(1, "a"), (3, "c")])
        >>> list(merger.ready([])), list(merger.ready([1]))
        ([], ['a', 'c'])
        """
        queues = self._queues
        while any(queues.values()) and all(queue or each in ended for each, queue in queues.items()):
            _, partition = min((queue[0][0], each) for each, queue in queues.items() if queue)
            yield queues[partition].popleft()[1]
