"""Profiles stored, and handed over, by a version that kept a feature for each class of capacity are read.

``former_states.json`` holds their bytes: six events with different values, two orders and a refund, under
each of its rules alone and under all together.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from segops.core.engine import Engine
from segops.core.identity.protocol import Identity
from segops.core.links import own
from segops.core.profile import Profile
from segops.schemas.messages import decode_message
from segops.schemas.state import decode_profile
from segops.testing import Customer, segments
from tests.core.helpers import MONDAY as T
from tests.core.helpers import H, S

FORMER: dict[str, Any] = json.loads((Path(__file__).parent / "former_states.json").read_text("utf-8"))
RULES: dict[str, dict[str, Any]] = FORMER["rules"]
NOW = T + 20 * S


def stored(text: str) -> Profile:
    return decode_profile(bytes.fromhex(text))


def lived(rules: dict[str, dict[str, Any]]) -> Customer:
    """Return a customer with the same events, in this version."""
    customer = Customer(**rules)
    for number in range(6):
        customer.did("A", T + number * S, p=f"p{number}", q="2025-10-13T00:00:00Z", v=1)
    customer.did("Order Completed", T + 10 * S, order_id="o1", revenue=100)
    customer.did("Order Completed", T + 11 * S, order_id="o2", revenue=50)
    customer.did("Order Refunded", T + 12 * S, order_id="o1", total=40)
    customer.wait(NOW)
    return customer


def verdicts(engine: Engine, profile: Profile) -> dict[str, list[Any]]:
    """Of every segment: whether the rule holds, and when it changes, over the next hour."""
    instants = [NOW, NOW + H - 20 * S, NOW + H - 17 * S, NOW + H]
    return {
        s.key: [(s.rule.holds(profile, at), s.rule.next_flip(profile, at, True)) for at in instants]
        for s in engine.segments.segments
    }


@pytest.mark.parametrize("name", RULES)
def test_former_state_continues_under_the_same_rule(name: str) -> None:
    rule = {name: RULES[name]}
    fresh, former = lived(rule), stored(FORMER["alone"][name])
    assert former.evaluated_by == fresh.engine.version
    opened = fresh.engine.open(former)
    assert opened.features.keys() == fresh.engine.segments.features.keys()
    assert verdicts(fresh.engine, opened) == verdicts(fresh.engine, fresh.profile)
    assert (opened.members, opened.flips) == (fresh.profile.members, fresh.profile.flips)


def test_former_state_continues_with_one_state_per_figure() -> None:
    fresh = lived(RULES)
    opened = fresh.engine.open(stored(FORMER["together"]))
    assert opened.features.keys() == fresh.engine.segments.features.keys() == fresh.profile.features.keys()
    assert verdicts(fresh.engine, opened) == verdicts(fresh.engine, fresh.profile)


@pytest.mark.parametrize("kind", ["count", "distinct", "ever"])
@pytest.mark.parametrize(("before", "after"), [(5, 1), (5, 3), (300, 3), (300, 5), (5, 300)])
def test_former_state_is_kept_under_another_threshold(kind: str, before: int, after: int) -> None:
    names = f"{kind}_{before}", f"{kind}_{after}"
    engine, profile = Engine(segments(often=RULES[names[1]])), stored(FORMER["alone"][names[0]])
    engine.on_definitions(profile, clock_ms=NOW)
    assert ("often" in profile.members) is (after <= 6)


def test_handover_from_a_former_version_is_merged() -> None:
    fresh = lived(RULES)
    user = fresh.engine.new_profile("user_id:u1")
    own(user, user.id)
    message = decode_message(bytes.fromhex(FORMER["handover"]))
    identity = Identity(fresh.engine)
    identity.on_message(user, message, clock_ms=NOW)
    assert verdicts(fresh.engine, user) == verdicts(fresh.engine, fresh.profile)


def test_migrated_state_is_not_migrated_again() -> None:
    fresh = lived(RULES)
    before = dict(fresh.profile.features)
    opened = fresh.engine.open(fresh.profile).features
    assert opened == before and all(opened[key] is state for key, state in before.items())
