"""What a demo that is left running shows: the history once more, and once more, each time later."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import count
from typing import Final

import msgspec

from segops.core.values import format_instant
from segops.demo.history import OrderHistory
from segops.demo.input_events import InputEvent
from segops.operations.produce import Loader

#: As many events as people can follow, for figures that move from one second to the next; few enough for a
#: plan of an audience to hold until a person has approved it.
_PER_S: Final = 10
_SLICES_PER_S: Final = 2
_encode = msgspec.json.Encoder().encode


async def go_on(loader: Loader, history: OrderHistory) -> None:
    """Send the history again and again, 10 events a second, and let time pass with it, until cancelled."""
    size = _PER_S // _SLICES_PER_S
    for events in _slices(repeated(history), size):
        await loader.send_keyed((event.profile.encode(), event.line) for event in events)
        await loader.final_tick(events[-1].time_ms)
        await asyncio.sleep(1 / _SLICES_PER_S)


def repeated(history: OrderHistory) -> Iterator[InputEvent]:
    """Yield the events of the history again without end, in time order, all later than its end."""
    length_ms = history.final_ms - history.first_ms
    for number in count(1):
        for event in history.events:
            yield _later(event, number, 1 + number * length_ms)


def _later(event: InputEvent, number: int, shift_ms: int) -> InputEvent:
    call = msgspec.json.decode(event.line)
    time_ms, message_id = event.time_ms + shift_ms, f"{event.message_id}-{number}"
    call |= {"messageId": message_id, "timestamp": format_instant(time_ms)}
    return InputEvent(time_ms, message_id, event.profile, _encode(call))


def _slices(events: Iterator[InputEvent], size: int) -> Iterator[list[InputEvent]]:
    while True:
        yield [next(events) for _ in range(size)]
