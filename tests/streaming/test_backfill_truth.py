"""Whatever the rules and events: segments have the members that they would have had from the start."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, note
from hypothesis import strategies as st

from segops.core.rules.parsing import Context, read_rfm, read_rule
from segops.core.segments import Definition, SegmentSet, reads_rfm
from segops.core.values import format_instant
from segops.replay import Replay
from tests.core.strategies import (
    BASE_MS,
    NAMES,
    ORDERS,
    RFM,
    aggregates,
    composite,
    dids,
    properties,
    purchases,
    rules,
    sequences,
)
from tests.rest import examples

from .backfill_network import WALL_MS, BackfillNetwork

#: Long after every window of seconds, and after days, which scores count.
_ENDS_MS = (500, 20_000, 100_000, 3 * 86_400_000)


#: Rules that events turn true, mostly: others hold, or not, whatever happened.
_counting = st.one_of(dids, aggregates(), sequences())


def begins_at_publication(rule: dict[str, Any]) -> bool:
    """Return whether history cannot give what a rule needs: hysteresis begins at publication."""
    return '"enter"' in json.dumps(rule)


def definition(key: str, rule: dict[str, Any], *, version: int = 1) -> Definition:
    context = Context("drawn", read_rfm(RFM, "rfm", Context("drawn")))
    node = read_rule(rule, key, context)
    rfm = RFM if reads_rfm(node) else None
    return Definition(key, key, node, version=version, written=rule, rfm=rfm)


@composite
def rule_sets(draw: Any) -> tuple[SegmentSet, SegmentSet]:
    """Draw segments, and those published later: some as before, some edited, some new, some gone."""
    before, after = [], []
    for number in range(draw(st.integers(1, 4))):
        key = f"s{number}"
        drawn = st.one_of(_counting, rules(tuple(each.key for each in after)))
        known, later = (draw(drawn.filter(lambda rule: not begins_at_publication(rule))) for _ in range(2))
        fate = draw(st.sampled_from(["kept", "edited", "new", "new", "new"]))
        if fate == "kept":
            later = known
        after.append(definition(key, later, version=2 if fate == "edited" else 1))
        referred = {each.key for each in before}
        if fate != "new" and not any(
            f'"s{n}"' in json.dumps(known) for n in range(9) if f"s{n}" not in referred
        ):
            before.append(definition(key, known))
    return SegmentSet(before), SegmentSet(after)


@composite
def lines(draw: Any) -> list[bytes]:
    """Draw the events of two persons, in order of time, whose identifiers are linked little by little."""
    found, at_ms = [], BASE_MS
    for number in range(draw(st.integers(4, 20))):
        at_ms += draw(st.sampled_from([0, 1, 500, 2_000]))
        person, device = draw(st.integers(0, 1)), draw(st.integers(0, 1))
        kinds = draw(st.sampled_from(["a", "a", "a", "e", "u", "ae", "au", "eu"]))
        name = draw(st.sampled_from((*NAMES, *NAMES, *NAMES, *ORDERS)))
        form = {
            "type": "track",
            "event": name,
            "messageId": f"m{number}",
            "timestamp": format_instant(at_ms),
            "properties": draw(properties()) | (draw(purchases()) if name in ORDERS else {}),
            "context": {"traits": draw(properties()) | ({"email": f"e{person}@x"} if "e" in kinds else {})},
        }
        ids = {"a": ("anonymousId", f"a{person}-{device}"), "u": ("userId", f"u{person}")}
        form |= dict(ids[kind] for kind in kinds if kind in ids)
        found.append(json.dumps(form).encode())
    return found


def compare(network: BackfillNetwork, replay: Replay) -> None:
    found = {key: set(each.members) for key, each in network.profiles().items()}
    assert found == {key: set(each.members) for key, each in replay.profiles.items()}


@examples(25, of=150)
@given(rule_sets(), lines(), st.integers(1, 6), st.booleans(), st.randoms(use_true_random=False))
def test_members_after_a_backfill_are_those_of_segments_live_from_the_start(
    sets: tuple[SegmentSet, SegmentSet], events: list[bytes], partitions: int, transactional: bool, rng: Any
) -> None:
    before, after = sets
    network = BackfillNetwork(before, partitions, seed=rng.randrange(10**6), transactional=transactional)
    replay = Replay(after, wall_ms=WALL_MS)
    moments = [rng.randrange(len(events)) for _ in range(partitions)]
    note(f"published at {moments}")
    for number, line in enumerate(events):
        network.post(line, number)
        list(replay.feed(line, default_id=""))
        network.drain()
        for partition in range(partitions):
            if moments[partition] == number:
                network.publish(after, partition)
        for _ in range(rng.randrange(12)):
            network.step()
        if rng.random() < 0.2:
            network.crash(rng.randrange(partitions), keep_store=rng.random() < 0.5)
    last_ms = replay.clock_ms or 0
    for after_ms in _ENDS_MS:
        network.tick(last_ms + after_ms)
        network.settle()
        list(replay.advance(last_ms + after_ms))
        compare(network, replay)
    assert network.rows() == 0
