"""The pages of segments: /segments, /segments/{key}, /segments/{key}/trend, /population, /alerts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl

import msgspec

from segops.api.access import Access
from segops.api.health import Page
from segops.api.parameters import Read, at_most, instant, parameters
from segops.api.profiles import JSON, RETRY
from segops.core.errors import UserError
from segops.core.values import parse_duration

ROUTES: Final = ("/segments", "/segments/{key}", "/segments/{key}/trend", "/population", "/alerts")
DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 500
_DEFAULT_STEP: Final = "1h"
_ALERTS: Final = "/alerts"


class SegmentFigures(Protocol):
    """Sizes and trends; each method returns what can be encoded as JSON, None for what is not known."""

    def segments(self, after: str, limit: int) -> object:
        """Return at most ``limit`` segments by key, those after a key."""

    def segment(self, key: str) -> object | None:
        """Return one segment."""

    def trend(self, key: str, step_ms: int, from_ms: int | None, to_ms: int | None) -> object | None:
        """Return one segment over time. Raises UserError for a range that is not kept."""

    def population(self) -> object | None:
        """Return the figures of all profiles."""


class FiringAlerts(Protocol):
    """The alerts; ``firing`` returns what can be encoded as JSON."""

    def firing(self, after: str, limit: int) -> object:
        """Return at most ``limit`` firing alerts by key, those after a key."""


class SegmentPages:
    """Answers authorized requests from the figures and alerts, once ``current`` and ``alerts`` return them.

    >>> pages = SegmentPages(lambda: None, lambda: None, Access(token=None, local=True))
    >>> pages.find("/segments", "limit=5", None)().status
    503
    """

    def __init__(
        self,
        current: Callable[[], SegmentFigures | None],
        alerts: Callable[[], FiringAlerts | None],
        access: Access,
    ) -> None:
        self._current = current
        self._alerts = alerts
        self._access = access

    def find(self, path: str, query: str, authorization: str | None) -> Callable[[], Page] | None:
        """Return what makes the page at ``path``, or None if there is none."""
        found = _route(path)
        if found is None:
            return None
        route, key = found
        return lambda: self._page(route, key, query, authorization)

    def _page(self, route: str, key: str, query: str, authorization: str | None) -> Page:
        refusal = self._access.refusal(authorization)
        if refusal is not None:
            return refusal
        reads, answer = _ANSWERS[route]
        try:
            values = parameters(_pairs(query), reads)
            figures = self._alerts() if route == _ALERTS else self._current()
            if figures is None:
                what = b"alerts" if route == _ALERTS else b"sizes"
                return Page(503, b"not ready: reading the %s\n" % what, headers=RETRY)
            found = answer(figures, key, values)
        except UserError as error:
            return Page(400, f"{error}\n".encode())
        return Page(404, b"unknown\n") if found is None else Page(200, msgspec.json.encode(found), JSON)


def _route(path: str) -> tuple[str, str] | None:
    """Return the route of a path, and the segment key in it."""
    if path in _ANSWERS:
        return path, ""
    head, _, rest = path.removeprefix("/").partition("/")
    key, slash, tail = rest.partition("/")
    route = f"/segments/{{key}}{slash}{tail}"
    return (route, key) if head == "segments" and key and route in _ANSWERS else None


# -- parameters ------------------------------------------------------------------------------------------


def _pairs(query: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=10)
    except ValueError:
        raise UserError("expected at most 10 percent-encoded UTF-8 parameters") from None


# -- answers ---------------------------------------------------------------------------------------------

Answer = Callable[[Any, str, Mapping[str, Any]], object | None]


def _segments(figures: SegmentFigures, key: str, values: Mapping[str, Any]) -> object:
    return figures.segments(values.get("after", ""), values.get("limit", DEFAULT_LIMIT))


def _firing(alerts: FiringAlerts, key: str, values: Mapping[str, Any]) -> object:
    return alerts.firing(values.get("after", ""), values.get("limit", DEFAULT_LIMIT))


def _trend(figures: SegmentFigures, key: str, values: Mapping[str, Any]) -> object | None:
    step_ms = values.get("step") or parse_duration(_DEFAULT_STEP)
    return figures.trend(key, step_ms, values.get("from"), values.get("to"))


def _positive_duration(text: str) -> int:
    found = parse_duration(text)
    if not found:
        raise ValueError(f"expected a duration above 0, got {text!r:.60}")
    return found


#: Route -> the parameters that it knows, and what makes its answer.
_ANSWERS: Final[Mapping[str, tuple[Mapping[str, Read], Answer]]] = {
    "/segments": ({"after": str, "limit": at_most(MAX_LIMIT)}, _segments),
    "/segments/{key}": ({}, lambda figures, key, _: figures.segment(key)),
    "/segments/{key}/trend": ({"from": instant, "to": instant, "step": _positive_duration}, _trend),
    "/population": ({}, lambda figures, _, __: figures.population()),
    _ALERTS: ({"after": str, "limit": at_most(MAX_LIMIT)}, _firing),
}
