"""The parser of windows: a node has at most one, and it is never empty."""

from __future__ import annotations

from collections.abc import Callable

from segops.core.features import ANY_NAME
from segops.core.rules.parsing.reader import Reader, Reads
from segops.core.windows import ALWAYS, CALENDAR_UNITS, Between, Calendar, Fixed, SinceLast, Window, Within

#: The keys of windows that depend on times alone, and of all windows.
TIME_KEYS = ("within", "between", "since", "until", "calendar")
WINDOW_KEYS = (*TIME_KEYS, "since_last", "same")
_KEYS = frozenset(WINDOW_KEYS)
#: Key of a window that stands beside another one -> that one.
_ANCHORED = "did, did_not, sum, avg, min, max, distinct, latest or earliest"
_BESIDE = {"until": "since", "same": "since_last"}


def only_keys(node: Reader, *allowed: str) -> None:
    """Raise DefinitionError for each key of a node or figure that is not ``allowed``.

    >>> only_keys(Reader({"sessions": "A", "since_last": "B"}, "when"), "sessions")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    segops.core.errors.DefinitionError: -: when.since_last: possible only beside did, did_not, ...
    """
    if "since_last" in node.raw and "since_last" not in allowed:
        node.at("since_last").fail(f"possible only beside {_ANCHORED}, in a node of its own")
    node.only(*allowed)


def warn_of_anchors(node: Reader, names: tuple[str, ...], window: Window) -> None:
    """Warn if no event can count: each of ``names`` is an anchor, and none comes after the last one."""
    if isinstance(window, SinceLast) and set(names) <= set(window.names):
        node.at("since_last").warn("no event counts: every event that the node selects is an anchor itself")


def read_window(node: Reader) -> Window:
    """Parse the window of a node; without one, every event so far counts.

    >>> read_window(Reader({"within": "2d"}, "when"))
    Within(length_ms=172800000)
    """
    found = _KEYS.intersection(node.raw)
    if not found:
        return ALWAYS
    forms = {_BESIDE.get(key, key) for key in found}
    if len(forms) > 1:
        node.fail(f"expected at most one window, got {', '.join(sorted(forms))}")
    return _FORMS[forms.pop()](node)


def _within(node: Reader) -> Window:
    return Within(node.at("within").positive_duration())


def _between(node: Reader) -> Window:
    form, example = node.at("between"), "{from: 90d, to: 30d}"
    from_ms, to_ms = form.record({"from": Reader.duration, "to": Reader.duration}, example)
    if from_ms <= to_ms:
        form.fail(f"expected from further back than to, such as {example}")
    return Between(from_ms, to_ms)


def _fixed(node: Reader) -> Window:
    since, until = (node.at(key).instant() if key in node else None for key in ("since", "until"))
    if since is not None and until is not None and since >= until:
        node.at("until").fail("expected until after since: the window is empty")
    return Fixed(since, until)


def _calendar(node: Reader) -> Window:
    this: Reads = {"this": lambda reader: reader.one_of(CALENDAR_UNITS)}
    example = "{this: day, zone: Europe/Paris}"
    unit, zone = node.at("calendar").record(this, example, {"zone": Reader.zone})
    return Calendar(unit, "UTC" if zone is None else zone)


def _since_last(node: Reader) -> Window:
    if "since_last" not in node:
        node.at("same").fail("expected since_last beside same")
    if "same" not in node:
        return SinceLast(_anchors(node))
    return SinceLast(*node.gather(lambda: _anchors(node), node.at("same").property))


def _anchors(node: Reader) -> tuple[str, ...]:
    anchors = node.at("since_last")
    names = anchors.names()
    if ANY_NAME in names:
        anchors.fail("expected event names: no event comes after the last of all")
    return names


_FORMS: dict[str, Callable[[Reader], Window]] = {
    "within": _within,
    "between": _between,
    "since": _fixed,
    "calendar": _calendar,
    "since_last": _since_last,
}
