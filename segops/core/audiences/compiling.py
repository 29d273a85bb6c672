"""The rule of an audience: the members of its segment, step by step less those who must not be reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from segops.core.audiences.model import Audience, Channel, HoldOut, Reach, Step
from segops.core.rules.model import Did
from segops.core.rules.parsing import Context, read_alerts, read_rule
from segops.core.rules.policy import Policy
from segops.core.scans import Estimate
from segops.core.segments import Definition
from segops.core.windows import Within

#: What an entry of ``suppress`` begins with that names a trait, not a segment.
TRAIT: Final = "trait."
_PHONE: Final = {"any": [{"has_identifier": "phone"}, {"trait": "phone", "is": {"exists": True}}]}
#: Channel -> the address that a member must have; None: none.
ADDRESSES: Final[Mapping[Channel, Any]] = MappingProxyType(
    {
        "email": {"has_identifier": "email"},
        "sms": _PHONE,
        "push": {"has_identifier": ["device_id", "push_token"]},
        "ads": {"any": [{"has_identifier": "email"}, *_PHONE["any"]]},
        "webhook": None,
    }
)


def steps_of(audience: Audience, consent: Sequence[str]) -> dict[str, Any]:
    """Return the steps of the funnel in order, each with its node as written.

    ``consent``: the paths of the traits that must be true, with ``{purpose}`` and ``{channel}`` in them.
    """
    address = ADDRESSES[audience.channel]
    asked = [each.format(purpose=audience.purpose, channel=audience.channel) for each in consent]
    suppressed = [_suppression(each) for each in audience.suppress]
    steps: dict[str, Any] = {"segment": {"in_segment": audience.segment}}
    if address is not None:
        steps["address"] = address
    if asked:
        steps["consent"] = _one_or({"all": [_is_true(each) for each in asked]})
    if suppressed:
        steps["suppressions"] = {"not": _one_or({"any": suppressed})}
    if audience.hold_out is not None:
        steps["hold-out"] = {"not": _held_out(audience.hold_out)}
    return steps


def _held_out(share: HoldOut) -> dict[str, Any]:
    return {"bucket": {"salt": share.salt, "from": 0, "to": share.share / 100}}


def _one_or(group: dict[str, list[Any]]) -> dict[str, Any]:
    ((_, nodes),) = group.items()
    return nodes[0] if len(nodes) == 1 else group


def _is_true(path: str) -> dict[str, Any]:
    return {"trait": path, "is": {"eq": True}}


def _suppression(named: str) -> dict[str, Any]:
    return _is_true(named.removeprefix(TRAIT)) if named.startswith(TRAIT) else {"in_segment": named}


def definition_of(audience: Audience, consent: Sequence[str]) -> Definition:
    """Compile an audience. Raises DefinitionError for an invalid path of a trait.

    >>> audience = Audience("winback", "at-risk", "email", suppress=("bounced", "trait.unsubscribed"))
    >>> definition_of(audience, ["consent.{purpose}"]).key
    'audience.winback'
    """
    written = {"all": [*steps_of(audience, consent).values()]}
    source = _source(audience)
    return Definition(
        audience.definition_key,
        audience.name or audience.key,
        read_rule(written, "when", Context(source)),
        audience.description,
        written=written,
        source=source,
        alerts=() if audience.alert is None else read_alerts(audience.alert, "alert", Context(source)),
    )


def _source(audience: Audience) -> str:
    return f"audience {audience.key}"


def goal_window_ms(goal: Any, path: str, context: Context) -> int | None:
    """Return how long after an entry a goal counts; None unless it is a ``did`` node with ``within``.

    Raises DefinitionError for an invalid node.

    >>> goal_window_ms({"did": "Order Completed", "within": "7d"}, "goal", Context("shop.yaml"))
    604800000
    """
    node = read_rule(goal, path, context)
    return node.window.length_ms if isinstance(node, Did) and isinstance(node.window, Within) else None


def measuring_of(audience: Audience, consent: Sequence[str]) -> list[Definition]:
    """Compile what measures the lift of an audience; nothing without a goal and a hold-out.

    Who enters the audience, and who would enter it but for the hold-out, stays a member of an arm until the
    window of the goal is over, so that merges are known until then. Who of both is a member of the goal at
    the end of the window has reached it.

    >>> goal, held_out = {"did": "Order", "within": "7d"}, HoldOut("winback", 1_000)
    >>> audience = Audience("winback", "at-risk", "email", hold_out=held_out, goal=goal)
    >>> [each.key for each in measuring_of(audience, [])]
    ['audience.winback.sent', 'audience.winback.held-out', 'audience.winback.goal']
    """
    held_out, source = audience.hold_out, _source(audience)
    window_ms = goal_window_ms(audience.goal, "goal", Context(source)) if audience.goal is not None else None
    if held_out is None or window_ms is None:
        return []
    sent_key, held_out_key, goal_key = audience.measuring_keys
    steps = {**steps_of(audience, consent), "hold-out": _held_out(held_out)}
    entered = {"any": [{"in_segment": sent_key}, {"in_segment": held_out_key}]}
    stay = Policy(min_stay_ms=window_ms + 1)
    rules: list[tuple[str, str, Any, Policy | None]] = [
        (sent_key, "sent", {"in_segment": audience.definition_key}, stay),
        (held_out_key, "hold-out", {"all": [*steps.values()]}, stay),
        (goal_key, "goal", {"all": [entered, audience.goal]}, None),
    ]
    return [
        Definition(
            key,
            f"{audience.key}: {what}",
            read_rule(written, "when", Context(source)),
            written=written,
            source=source,
            policy=policy,
        )
        for key, what, written, policy in rules
    ]


def reach_of(
    audience: Audience,
    definition: Definition,
    consent: Sequence[str],
    estimate: Estimate,
    *,
    between_ms: tuple[int, int],
    unreadable: int,
) -> Reach:
    """Return the funnel that an estimate of the audience's definition has counted.

    A definition that was compiled with another ``consent`` has other steps: its funnel is the members alone.
    """
    steps = steps_of(audience, consent)
    counted = [each.passes for each in estimate.funnel if each.depth == 1]
    if definition.written != {"all": [*steps.values()]}:
        steps, counted = {"members": None}, [estimate.holds]
    found = tuple(map(Step, steps, counted))
    failed, incomplete = estimate.failed, tuple(estimate.incomplete)
    return Reach(found, estimate.evaluated, *between_ms, unreadable, failed, incomplete)
