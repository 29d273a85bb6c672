"""The resolve step of an event by the kernel; what it cannot read exactly, Python reads."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from segops.kernel.tables import EMAIL_SOURCES
from segops.schemas.events import Routed, route
from segops.schemas.identifying import IdentityLimits
from segops.streaming.partition.resolve import Route

#: The types that the kernel reads beside users -> their numbers there.
_TYPES: Final = {"email:": 1, "anonymous_id:": 2}


def native_route(native: Any, limits: IdentityLimits) -> Route:
    """Return ``route`` with these limits, by the kernel."""
    order = [_TYPES[each] for each in limits.rules.ordered(_TYPES)]
    sources = [EMAIL_SOURCES[each] for each in limits.email_sources]
    lengths = limits.max_ahead_ms, limits.min_skew_ms
    known = (sorted(limits.blocked), sources, order, limits.max_bytes, *lengths)
    found: Route = native.Route(known, partial(route, limits=limits), Routed)
    return found
