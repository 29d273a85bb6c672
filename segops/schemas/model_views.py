"""Models as commands show them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from segops.core.scoring.models import Model
from segops.core.values import format_instant
from segops.schemas.models import written
from segops.schemas.own_models import own_problem
from segops.schemas.published_models import PublishedModel
from segops.schemas.scan_views import PlanView


class ChangeView(msgspec.Struct, frozen=True):
    """What a publication does to a segment; ``waits``: for history."""

    segment_key: str
    action: str
    version: int
    waits: bool


class PublicationView(msgspec.Struct, frozen=True):
    """The publication of a model: its version, and what it changes.

    ``restores``: the earlier version that it is again, if any; ``published``: false of a dry run. ``plan``:
    who enters and leaves, None if that was not asked for, or if no published segment changes.
    """

    name: str
    version: int
    kind: str
    status: str
    restores: int | None
    published: bool
    changes: list[ChangeView]
    plan: PlanView | None


class ModelView(msgspec.Struct, frozen=True):
    """A published model, as in its file, and its ``versions`` that are kept; ``used_by``: segments.

    ``stale``: whether it is past its validity; it scores all the same.
    """

    name: str
    version: int
    published_ms: int
    restores: int | None
    stale: bool
    versions: list[int]
    used_by: list[str]
    model: dict[str, Any]


def is_stale(model: Model, now_ms: int) -> bool:
    """Return whether a model is past its validity."""
    return model.valid_until_ms is not None and now_ms >= model.valid_until_ms


def doubts(model: Model, now_ms: int) -> Iterator[str]:
    """Yield why the scores of a model are missing, or may no longer be good.

    >>> list(doubts(Model("fraud", "trees", None, status="not_enough_data", reasons=("99 orders",)), 0))
    ['fraud: its scores are missing, since the model is not_enough_data (99 orders)']
    """
    if not model.is_ready:
        why = f" ({'; '.join(model.reasons)})" if model.reasons else ""
        yield f"{model.name}: its scores are missing, since the model is {model.status}{why}"
    if (problem := own_problem(model.parameters)) is not None:
        yield f"{model.name}: {problem}; a segment that reads its score is left out where that is so"
    if is_stale(model, now_ms):
        until = format_instant(model.valid_until_ms or 0)
        yield f"{model.name}: the model was valid until {until}; it scores as before: fit it again"


def view_model(
    published: PublishedModel, versions: list[int], used_by: list[str], *, now_ms: int
) -> ModelView:
    """Return the view of a published model."""
    model = published.model
    return ModelView(
        model.name,
        model.version,
        published.published_ms,
        published.restores,
        is_stale(model, now_ms),
        versions,
        used_by,
        written(model),
    )
