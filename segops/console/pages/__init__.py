"""The pages of the console. A module exports ``PAGES``, ``ACTIONS`` and, if it has any, ``STREAMS``."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Final

from segops.console.page import Action, Page, Stream
from segops.console.pages import (
    audiences,
    builder,
    data,
    destinations,
    lifecycle,
    models,
    overview,
    people,
    person,
    plans,
    rfm,
    rfm_tier,
    sandbox,
    segment,
    segment_actions,
    segment_details,
    segments,
    settings,
    streams,
    studio,
)

#: Every module of pages.
MODULES: Final[tuple[ModuleType, ...]] = (
    overview,
    segments,
    segment,
    segment_details,
    segment_actions,
    streams,
    builder,
    studio,
    plans,
    people,
    person,
    sandbox,
    rfm,
    rfm_tier,
    lifecycle,
    audiences,
    destinations,
    data,
    models,
    settings,
)

PAGES: Final[tuple[Page[Any], ...]] = tuple(page for module in MODULES for page in module.PAGES)
ACTIONS: Final[tuple[Action[Any, Any], ...]] = tuple(
    action for module in MODULES for action in module.ACTIONS
)
STREAMS: Final[tuple[Stream[Any], ...]] = tuple(
    stream for module in MODULES for stream in getattr(module, "STREAMS", ())
)
