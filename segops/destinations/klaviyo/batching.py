"""Batches that grow with the load: messages that wait while others are sent become one call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from segops.destinations.port import DestinationAway, Message, Outcome

#: How many calls may be under way, and after which time one that lasts holds up no other.
_AT_ONCE: Final = 4
_LONG_S: Final = 5.0
#: After a call, those whose messages it held send the next ones; so that they need not wait for a whole call.
_GATHER_S: Final = 0.05

Send = Callable[[Sequence[Message]], Coroutine[Any, Any, Sequence[Outcome]]]


@dataclass(eq=False)
class _Asked:
    """What one caller wants to be sent."""

    messages: Sequence[Message]
    answer: asyncio.Future[Sequence[Outcome]]


@dataclass(eq=False)
class _Call:
    """A call that is under way, for several callers."""

    asked: Sequence[_Asked]
    task: asyncio.Task[Sequence[Outcome]]
    is_long: bool = False
    timer: asyncio.TimerHandle | None = None


class Batching:
    """Sends the messages of its callers together, as a service with few requests demands.

    ``most``: messages of a call, and of a caller. A call begins at once if none is under way, when a full
    batch waits, or when those under way have lasted for 5 s; at most four are under way. After its end, the
    next one gathers messages for 50 ms. A caller that is cancelled ends the call that it is part of: for the
    others, it begins again.
    """

    def __init__(self, send: Send, most: int) -> None:
        self._send = send
        self._most = most
        self._waiting: list[_Asked] = []
        self._calls: list[_Call] = []
        self._gathering = 0

    async def send(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        """Return an outcome per message, in order. Raises what the call raises."""
        asked = _Asked(messages, asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        self._begin()
        try:
            return await asked.answer
        except asyncio.CancelledError:
            self._withdraw(asked)
            raise

    def close(self) -> None:
        """End all calls: callers get DestinationAway."""
        waiting, self._waiting = self._waiting, []
        for asked in [*waiting, *(each for call in self._calls for each in call.asked)]:
            if not asked.answer.done():
                asked.answer.set_exception(DestinationAway("the destination was closed"))
        for call in self._calls:
            call.task.cancel()

    def _withdraw(self, asked: _Asked) -> None:
        if asked in self._waiting:
            self._waiting.remove(asked)
        for call in self._calls:
            if asked in call.asked:
                call.task.cancel()

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        while self._may_begin():
            asked = self._take()
            task = asyncio.ensure_future(self._send([one for each in asked for one in each.messages]))
            call = _Call(asked, task)
            call.timer = loop.call_later(_LONG_S, self._note_long, call)
            self._calls.append(call)
            task.add_done_callback(partial(self._end, call))

    def _may_begin(self) -> bool:
        is_full = sum(len(each.messages) for each in self._waiting) >= self._most
        may = is_full or (not self._gathering and all(each.is_long for each in self._calls))
        return bool(self._waiting) and len(self._calls) < _AT_ONCE and may

    def _take(self) -> list[_Asked]:
        taken, size = [self._waiting.pop(0)], 0
        size = len(taken[0].messages)
        while self._waiting and size + len(self._waiting[0].messages) <= self._most:
            taken.append(self._waiting.pop(0))
            size += len(taken[-1].messages)
        return taken

    def _note_long(self, call: _Call) -> None:
        call.is_long = True
        self._begin()

    def _note_gathered(self) -> None:
        self._gathering -= 1
        self._begin()

    def _end(self, call: _Call, _task: object) -> None:
        if call.timer is not None:
            call.timer.cancel()
        self._calls.remove(call)
        if call.task.cancelled():
            self._waiting[:0] = [each for each in call.asked if not each.answer.done()]
        else:
            _answer(call)
        self._gathering += 1
        asyncio.get_running_loop().call_later(_GATHER_S, self._note_gathered)
        self._begin()


def _answer(call: _Call) -> None:
    error = call.task.exception()
    outcomes = iter(() if error is not None else call.task.result())
    for each in call.asked:
        found = [next(outcomes) for _ in each.messages] if error is None else []
        if each.answer.done():
            continue
        if error is None:
            each.answer.set_result(found)
        else:
            each.answer.set_exception(error)
