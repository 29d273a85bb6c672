"""The size of a draft: whom it would hold now, node by node, with the profiles nearest to its edge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from segops.config import Settings
from segops.console.drafts.checking import Checked, Definitions, referred
from segops.console.drafts.reading import At
from segops.core.errors import UserError
from segops.core.rules import model
from segops.core.segments import Definition
from segops.core.views.explain import RulePart, SegmentExplanation
from segops.kafka.definitions import read
from segops.operations.columns import publish_columns
from segops.operations.scans import patient_scan
from segops.schemas.scan_views import EstimateView, NearView, view_estimate
from segops.schemas.scans import EstimateRequest, estimate_request

#: The profiles of a sample: the error is at most 1.6 % of all profiles, and the answer is there at once.
SAMPLE: Final = 4_000
#: The most profiles of which all are read.
EXACT: Final = 20_000
#: How many profiles of each verdict are shown.
NEAR: Final = 3


def share_of(known: int | None) -> float:
    """Return the share of all profiles that is read, given how many are known.

    >>> share_of(1_000_000), share_of(20_000), share_of(None)
    (0.004, 1.0, 1.0)
    """
    return 1.0 if known is None or known <= EXACT else SAMPLE / known


def question(found: Checked, published: Definitions, share: float) -> EstimateRequest:
    """Return the question for a draft. Raises UserError if it has mistakes."""
    if found.definition is None:
        raise UserError("the draft has mistakes: mend them first")
    needed = {each.key for each in referred(found.definition, found.beside, published)}
    drafts = [each for each in found.drafts if each.key in needed]
    return estimate_request(found.definition.key, drafts, share=share, funnel=True, near=NEAR)


async def estimate(
    settings: Settings, found: Checked, published: Definitions, *, share: float, wait_s: float
) -> EstimateView:
    """Return the estimate of a draft over a share of all profiles. Raises what ``patient_scan`` raises."""
    asked = question(found, published, share)
    if any(each.columns for each in found.drafts):
        await publish_columns(settings, await read(settings, on_bad=lambda _: None), found.drafts)
    return view_estimate(await patient_scan(settings, asked, wait_s=wait_s))


def estimate_form(view: EstimateView, definition: Definition, *, personal: bool) -> dict[str, Any]:
    """Return an estimate for the editor of a draft.

    ``nodes``: the counts of each node with its place (``at``) in the rule; ``values``: those of leaves that
    compare a number, by place. Without ``personal``, profiles have no names and no values.
    """
    paths = [*paths_of(definition.when, definition.written)]
    found = msgspec.to_builtins(view)
    counts: dict[At, dict[str, Any]] = {}
    for count, at in zip(found["funnel"], paths, strict=True):
        counts.setdefault(at, {**count, "at": list(at)})
    values = [{"at": list(paths[int(at)]), "values": each} for at, each in found["values"].items()]
    return {
        **{name: found[name] for name in _SHOWN},
        "nodes": list(counts.values()),
        "values": values,
        "just_in": [_near_form(each, number, personal) for number, each in enumerate(view.just_in, 1)],
        "just_out": [_near_form(each, number, personal) for number, each in enumerate(view.just_out, 1)],
    }


_SHOWN: Final = (
    "from_ms",
    "to_ms",
    "sample",
    "evaluated",
    "holds",
    "failed",
    "unreadable",
    "members",
    "profiles",
    "incomplete",
)


def paths_of(node: model.Node, written: Any, at: At = ("when",)) -> Iterator[At]:
    """Yield the place of each node of a rule as written, in the order of the tree.

    The two sides of a hysteresis are written in one node, and so is a leaf with its negation.

    >>> from segops.testing import definition
    >>> of = definition("s", {"all": [{"not": {"did": "A"}}, {"did": "B"}]})
    >>> [*paths_of(of.when, of.written)][1:]
    [('when', 'all', 0), ('when', 'all', 0, 'not'), ('when', 'all', 1)]
    """
    yield at
    below = model.children(node)
    if isinstance(node, model.Hysteresis):
        yield from (at for _ in below)
        return
    for number, child in enumerate(below):
        path = _PATHS[type(node)](number)
        if path[0] not in written:  # both stand in one node, as in `identified: false`
            yield from paths_of(child, written, at)
            continue
        found = written
        for step in path:
            found = found[step]
        yield from paths_of(child, found, (*at, *path))


#: Group -> where the child with a number is written.
_PATHS: Final[dict[type, Any]] = {
    model.All: lambda number: ("all", number),
    model.Any: lambda number: ("any", number),
    model.Not: lambda _: ("not",),
    model.AtLeast: lambda number: ("at_least", "of", number),
}


def _near_form(near: NearView, number: int, personal: bool) -> dict[str, Any]:
    return {
        "flips": near.flips,
        "profile_id": near.profile_id if personal else None,
        "name": near.profile_id if personal else f"Profile {number}",
        "rule": _rule_form(near.explanation.rule, personal),
        **_membership_form(near.explanation),
    }


def _membership_form(explanation: SegmentExplanation) -> dict[str, Any]:
    return {"since_ms": explanation.since, "flips_at_ms": explanation.flips_at}


def _rule_form(part: RulePart, personal: bool) -> dict[str, Any]:
    return {
        "label": part.label,
        "holds": part.holds,
        "value": _value(part) if personal else None,
        "threshold": part.threshold,
        "changes_at_ms": part.changes_at,
        "note": part.note,
        "parts": [_rule_form(each, personal) for each in part.parts],
    }


def _value(part: RulePart) -> Any:
    value = msgspec.to_builtins(part.value)
    return f"at least {value}" if part.value_is_least else value
