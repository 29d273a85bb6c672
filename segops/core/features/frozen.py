"""The family of frozen features: read at the latest refresh, of the events that had arrived before it."""

from __future__ import annotations

from typing import Any

import msgspec

from segops.core.features.feature import Reducer
from segops.core.features.states import Frozen, State
from segops.core.refresh import Refresh


class FrozenReducer:
    """The reducer of a feature with a refresh: it keeps the state of ``inner`` as of the latest refresh, too.

    >>> from segops.core.features.running import RunningCount
    >>> from segops.core.windows import ALWAYS
    >>> reducer = FrozenReducer(RunningCount(ALWAYS), Refresh("hour"))
    >>> state = reducer.add(None, 5, None, 5)
    >>> [reducer.read(state, now_ms) for now_ms in (5, 3_599_999, 3_600_000)]
    [0, 0, 1]
    """

    def __init__(self, inner: Reducer, refresh: Refresh) -> None:
        self.inner = inner
        self.refresh = refresh

    def add(self, state: Frozen | None, time_ms: int, value: Any, now_ms: int) -> Frozen | None:
        refreshed_ms = self.refresh.latest(now_ms)
        if state is not None and state.refreshed_ms < refreshed_ms:
            state.base = copied(state.live)
            state.refreshed_ms = refreshed_ms
        live = self.inner.add(None if state is None else state.live, time_ms, value, now_ms)
        if live is None:
            return None
        if state is None:
            return Frozen(refreshed_ms, None, live)
        state.live = live
        return state

    def read(self, state: Frozen | None, now_ms: int) -> Any:
        refreshed_ms = self.refresh.latest(now_ms)
        return self.inner.read(as_of(state, refreshed_ms), refreshed_ms)

    def settled(self, state: Frozen, now_ms: int) -> Frozen:
        """Return the state with its base as of the latest refresh at ``now_ms``; both may share parts."""
        refreshed_ms = self.refresh.latest(now_ms)
        if state.refreshed_ms >= refreshed_ms:
            return state
        return Frozen(refreshed_ms, copied(state.live), state.live)


def as_of(state: Frozen | None, refreshed_ms: int) -> State | None:
    """Return the state of the inner feature as of a refresh, the latest one at a reading."""
    if state is None:
        return None
    return state.base if state.refreshed_ms >= refreshed_ms else state.live


def copied(state: State | None) -> State | None:
    """Return a copy of a state that an event added to the original does not change."""
    return None if state is None else _copy(state)


def _copy(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        fields = {name: _copy(getattr(value, name)) for name in value.__struct_fields__}
        return msgspec.structs.replace(value, **fields)
    if value.__class__ is list:
        structured = bool(value) and isinstance(value[0], msgspec.Struct)
        return [_copy(item) for item in value] if structured else value.copy()
    return value
