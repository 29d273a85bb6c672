"""Reducers of features: which of them the kernel has (``src/reduce.rs``)."""

from __future__ import annotations

from typing import Final

import msgspec

from segops.core.features import Feature
from segops.core.features.sequence import Sequence
from segops.core.windows import Between, SinceLast, Within

#: The fields of a feature that the kernel knows: one with a value in any other field is asked.
FIELDS: Final = frozenset(("kind", "names", "where", "window", "path", "capacity"))
_MAX_STEPS: Final = 64  # a bit each
_ORDERS: Final = frozenset(("orders", "actions", "purchases"))
_SINCE: Final = frozenset(("count", "sum", "min", "max", "distinct", "latest", "earliest"))
#: Of features that keep all events of their window.
_SCANNED: Final = _SINCE | {"most_frequent"}
#: Of features with a gap between sessions, or the length of a period.
_RHYTHM: Final = frozenset(("sessions", "session", "periods", "lifecycle"))
_KINDS: Final = frozenset(("count", "sum", "min", "max", "distinct", "latest", "earliest", "first", "last"))


def reducer_name(feature: Feature) -> str:
    """Return the name of the kernel's reducer; ``python`` for a feature that Python is asked to change."""
    if feature.refresh is not None:  # the kernel freezes a feature of any other family
        return reducer_name(msgspec.structs.replace(feature, refresh=None))
    unknown = [name for name in feature.__struct_fields__ if name not in FIELDS]
    further = [name for name in unknown if getattr(feature, name) is not None]
    if further == ["purchases"]:
        return _orders_name(feature)
    if further == ["sequence"] and feature.sequence is not None:
        return _sequence_name(feature.sequence)
    if further == ["length_ms"]:
        return feature.kind if feature.kind in _RHYTHM and _is_plain(feature) else "python"
    if further and (further != ["days"] or isinstance(feature.window, SinceLast)):
        return "python"
    return "history" if feature.kind == "history" else _windowed_name(feature)


def _is_plain(feature: Feature) -> bool:
    """Return whether a feature reads properties alone, in a way that no time changes."""
    paths = [path for path, _ in feature.where] + ([] if feature.path is None else [feature.path])
    return not feature.timed_where and all(path and path[0] for path in paths)


def _windowed_name(feature: Feature) -> str:
    """Return the name of the reducer of a feature that reads events in a window."""
    if not _is_plain(feature):
        return "python"
    if isinstance(feature.window, SinceLast):
        return _since_name(feature, feature.window.same or feature.window.names)
    if isinstance(feature.window, Between) or feature.kind == "most_frequent":
        return f"scan_{feature.kind}" if feature.kind in _SCANNED else "python"
    if feature.kind not in _KINDS:
        return "python"
    if not isinstance(feature.window, Within):
        return f"run_{feature.kind}"
    return "slide_sum" if feature.kind == "count" and feature.capacity is None else f"slide_{feature.kind}"


def _orders_name(feature: Feature) -> str:
    """Return the name of the reducer of orders."""
    return "orders" if _is_plain(feature) and feature.kind in _ORDERS else "python"


def _sequence_name(sequence: Sequence) -> str:
    """Return the name of the reducer of a sequence."""
    where = [each for step in sequence.steps for each in step.where]
    paths = [*sequence.paths, *(path for path, _ in where)]
    plain = all(path and path[0] for path in paths) and not any(test.timed for _, test in where)
    return "sequence" if plain and len(sequence.steps) <= _MAX_STEPS else "python"


def _since_name(feature: Feature, same: tuple[str, ...]) -> str:
    """Return the name of the reducer of the events after an anchor; ``same``: the path that it compares."""
    return f"since_{feature.kind}" if feature.kind in _SINCE and same[0] else "python"
