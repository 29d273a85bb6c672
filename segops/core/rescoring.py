"""Which new definitions differ from their former ones in the models of scores only."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, Protocol

import msgspec

from segops.core.events import Change, IndicatorValue
from segops.core.indicators import INDICATOR_PREFIX
from segops.core.profile import Profile
from segops.core.rules.model import InSegment, Node, below
from segops.core.rules.policy import Policy
from segops.core.scoring.rfm import EDGES_OF

#: Why a membership changed that was evaluated by a new model.
SCORE: Final = "score"
_REMEMBERED_SETS: Final = 15


class Defined(Protocol):
    """What decides whether a definition was edited."""

    @property
    def key(self) -> str: ...
    @property
    def when(self) -> Node: ...
    @property
    def policy(self) -> Policy | None: ...
    @property
    def paused(self) -> bool: ...


def edited_keys(changed: frozenset[str], new: Iterable[Defined], former: Iterable[Defined]) -> frozenset[str]:
    """Return those of the ``changed`` keys whose meaning differs by more than the models of scores.

    ``new`` are the definitions in the order of evaluation. One that refers to an edited segment is edited. So
    is one that has the same rule, unless it refers to a segment with other models.
    """
    edited: set[str] = set()
    before = {each.key: each for each in former}
    for each in new:
        if each.key not in changed:
            continue
        others = {node.key for node in below(each.when) if isinstance(node, InSegment)}
        rescored = bool(others & (changed - edited))
        if others & edited or not _is_rescored(each, before.get(each.key), refers=rescored):
            edited.add(each.key)
    return frozenset(edited)


def accumulated(
    earlier: Mapping[str, frozenset[str]], version: str, keys: frozenset[str]
) -> dict[str, frozenset[str]]:
    """Return the keys that changed since each of the latest versions; ``keys`` did since ``version``."""
    known = list(earlier.items())[-_REMEMBERED_SETS:]
    return {each: former | keys for each, former in known} | {version: keys}


def give_reason(
    profile: Profile,
    found: tuple[Iterable[Change], Iterable[IndicatorValue]],
    keys: Collection[str],
    reason: str,
) -> None:
    """Set the reason of the changes and the values that concern these segments and indicators."""
    changes, values = found
    for value in values:
        if f"{INDICATOR_PREFIX}{value.indicator}" in keys:
            value.reason = reason
    for change in changes:
        if change.segment_key in keys:
            change.reason = reason
            member = profile.members.get(change.segment_key)
            if member is not None:
                member.reason = reason


def _is_rescored(new: Defined, former: Defined | None, *, refers: bool) -> bool:
    if former is None or (former.policy, former.paused) != (new.policy, new.paused):
        return False
    if new.when == former.when:
        return refers
    return identity_without_models(new.when) == identity_without_models(former.when)


def identity_without_models(node: Node) -> str:
    """Return a hash of a rule in which every score is without its model.

    >>> from segops.core.operators import Predicate
    >>> from segops.core.rules.model import ScoreNode
    >>> from segops.core.scoring.scored import Scored
    >>> plain, ready = (ScoreNode("a", Predicate(()), model) for model in (None, Scored(None, 5)))
    >>> identity_without_models(plain) == identity_without_models(ready)
    True
    """
    form = _without_models(msgspec.to_builtins(node))
    return hashlib.sha256(msgspec.json.encode(form, order="sorted")).hexdigest()


def _without_models(form: Any) -> Any:
    if isinstance(form, (list, tuple)):
        return [_without_models(each) for each in form]
    if not isinstance(form, dict):
        return form
    form = _without_edges(form) if "quantiles" in form else form
    left_out = _OF_MODELS.get(str(form.get("type")))
    return {key: _without_models(each) for key, each in form.items() if key != left_out}


#: Type of a node or figure -> its field that a model gives.
_OF_MODELS: Final = {"score": "model", "percentile": "edges"}


def _without_edges(grid: dict[str, Any]) -> dict[str, Any]:
    """Return the form of a grid without the edges that a population's model gives."""
    quantiles = {key: each for key, each in grid["quantiles"].items() if key != "measured"}
    measures = {name for name, _ in quantiles["groups"]}
    left_out = {EDGES_OF[name] for name in measures}
    return {**{key: each for key, each in grid.items() if key not in left_out}, "quantiles": quantiles}
