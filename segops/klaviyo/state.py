"""How far a pull has come: the record of the pulls topic, and the spans of time into which it is divided."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import msgspec

from segops.core.errors import SegopsError
from segops.klaviyo.pages import STREAMS, Stream

_FORMAT: Final = 1
#: The history of each stream is read in so many spans, several at a time.
_SPANS: Final = 16
_SECOND_MS: Final = 1_000


class Span(msgspec.Struct):
    """A span of a stream: from ``from_ms`` (None: the beginning) to before ``until_ms``.

    All before ``reached_ms`` is durable in Kafka. Without ``until_ms`` it follows what comes.
    """

    stream: Stream
    from_ms: int | None
    until_ms: int | None
    reached_ms: int | None
    done: bool = False

    @property
    def live(self) -> bool:
        """Whether it has no end."""
        return self.until_ms is None

    def begin_ms(self, overlap_ms: int) -> int | None:
        """Return the time to read from; a live span reads the last ``overlap_ms`` again."""
        return self.reached_ms - overlap_ms if self.live and self.reached_ms is not None else self.reached_ms

    def reach(self, time_ms: int | None, now_ms: int) -> None:
        """Note that all before ``time_ms`` is durable; a time in the future is reached when it comes."""
        if time_ms is not None:
            self.reached_ms = max(self.reached_ms or 0, min(time_ms, now_ms))


class PullState(msgspec.Struct, kw_only=True):
    """The state of a pull as of ``at_ms``. ``running``: requests may have been sent since.

    Until the ``account`` is known there are no spans.
    """

    account: str | None
    running: bool
    at_ms: int
    spans: list[Span]
    format: int = _FORMAT

    def history(self, stream: Stream) -> list[Span]:
        """Return what is left of the history of a stream, the latest first."""
        return [each for each in self.spans if each.stream == stream and not each.live and not each.done][
            ::-1
        ]

    def following(self, stream: Stream) -> Span:
        """Return the span that follows what comes."""
        return next(each for each in self.spans if each.stream == stream and each.live)

    @property
    def progress(self) -> float:
        """The part of the history that is read, by time, from 0 to 1."""
        spans = [each for each in self.spans if not each.live]
        return sum(map(_read, spans)) / len(spans) if spans else 0.0


_decoder = msgspec.json.Decoder(PullState)


def _read(span: Span) -> float:
    if span.done:
        return 1.0
    if span.from_ms is None or span.until_ms is None or span.reached_ms is None:
        return 0.0
    return (span.reached_ms - span.from_ms) / (span.until_ms - span.from_ms)


def new_state(account: str, now_ms: int, history_ms: int) -> PullState:
    """Return the state of a pull that begins now: nothing is read.

    >>> state = new_state("A1", 400_000_000, 160_000_000)
    >>> [(each.from_ms, each.until_ms) for each in state.history("profiles")][-2:]
    [(240000000, 250000000), (None, 240000000)]
    >>> [(each.from_ms, each.until_ms) for each in state.history("events")][-1:]
    [(240000000, 250000000)]
    """
    now_ms -= now_ms % _SECOND_MS
    spans = [span for stream in STREAMS for span in _spans(stream, now_ms, history_ms)]
    return PullState(account=account, running=True, at_ms=now_ms, spans=spans)


def _spans(stream: Stream, now_ms: int, history_ms: int) -> Iterator[Span]:
    step_ms = max(history_ms // _SPANS // _SECOND_MS, 1) * _SECOND_MS
    edges = [now_ms - step_ms * number for number in range(_SPANS, -1, -1)]
    if stream == "profiles":  # all of them, however long ago they were updated
        yield Span(stream, None, edges[0], None)
    for begin, end in pairwise(edges):
        yield Span(stream, begin, end, begin)
    yield Span(stream, now_ms, None, now_ms)


def encode_state(state: PullState) -> bytes:
    """Return the value of the state's record."""
    return msgspec.json.encode(state)


def decode_state(value: bytes) -> PullState:
    """Decode the value of a record. Raises SegopsError for one of another version."""
    try:
        found = _decoder.decode(value)
    except msgspec.MsgspecError as error:
        raise SegopsError(f"unreadable state of a pull: {error}") from error
    if found.format != _FORMAT:
        raise SegopsError(f"unknown state of a pull: expected format {_FORMAT}, got {found.format}")
    return found
