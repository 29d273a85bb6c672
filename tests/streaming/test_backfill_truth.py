"""Whatever the rules and events: segments have the members that they would have had from the start."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given, note
from hypothesis import strategies as st

from segops.core.lookups import columns_of
from segops.core.messages import Erase
from segops.core.profile import Erasing
from segops.core.rules.blocks import names_of_areas, reads_rfm
from segops.core.rules.parsing import Context, read_rfm, read_rule
from segops.core.segments import Definition, SegmentSet
from segops.core.values import format_instant
from segops.replay import Replay
from segops.schemas.messages import split_of
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
from tests.core.strategies_areas import PLACES, area_context
from tests.core.strategies_scores import OWN_SCORES
from tests.rest import examples

from .backfill_network import WALL_MS, BackfillNetwork
from .test_backfill import members

#: Long after every window of seconds, and after days, which scores count.
_ENDS_MS = (500, 20_000, 100_000, 3 * 86_400_000)


#: Rules that events turn true, mostly: others hold, or not, whatever happened.
_counting = st.one_of(dids, aggregates(), sequences())


def begins_at_publication(rule: dict[str, Any]) -> bool:
    """Return whether history cannot give what a rule needs: hysteresis begins at publication."""
    return '"enter"' in json.dumps(rule)


def definition(key: str, rule: dict[str, Any], *, version: int = 1) -> Definition:
    context = area_context("drawn", read_rfm(RFM, "rfm", Context("drawn")))
    node = read_rule(rule, key, context)
    rfm = RFM if reads_rfm(node) else None
    read = names_of_areas(node)
    areas = {name: place for name, place in PLACES.items() if name in read} or None
    columns = columns_of(node)
    return Definition(key, key, node, version=version, written=rule, rfm=rfm, areas=areas, columns=columns)


def reads_orders(rule: dict[str, Any]) -> bool:
    """Return whether a rule reads orders, whose figures depend on the order in which events arrive."""
    return '"rfm"' in json.dumps(rule) or '"score"' in json.dumps(rule)


def is_known(rule: dict[str, Any]) -> bool:
    """Return whether definitions without models know the scores that a rule reads."""
    return not any(f'"{name}"' in json.dumps(rule) for name in OWN_SCORES)


@composite
def rule_sets(draw: Any, orders: bool) -> tuple[SegmentSet, SegmentSet]:
    """Draw segments, and those published later: some as before, some edited, some new, some gone."""
    before, after = [], []
    for number in range(draw(st.integers(1, 4))):
        key = f"s{number}"
        drawn = st.one_of(_counting, rules(tuple(each.key for each in after)))
        possible = drawn.filter(
            lambda rule: (
                is_known(rule) and not begins_at_publication(rule) and (orders or not reads_orders(rule))
            )
        )
        known, later = draw(possible), draw(possible)
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


#: Identifiers, from the last of a person to the first: a profile merges into that of an earlier one.
_RANKS = "daeu"


@composite
def lines(draw: Any, orders: bool) -> list[bytes]:
    """Draw the events of two persons, in order of time, whose identifiers are linked little by little.

    Linked from the last one on, they make chains of redirects.
    """
    found, at_ms, chained = [], BASE_MS, [0, 0]
    names = (*NAMES, *NAMES, *NAMES, *ORDERS) if orders else NAMES
    for number in range(draw(st.integers(4, 24))):
        at_ms += draw(st.sampled_from([0, 1, 500, 2_000] if orders else [1, 500, 2_000]))
        person, device = draw(st.integers(0, 1)), draw(st.integers(0, 1))
        kinds = draw(st.sampled_from(["next", "next", "next", *"dddaaeu", "da", "ae", "au", "eu"]))
        if kinds == "next":
            kinds, device = _RANKS[chained[person] :][:2], 0
            chained[person] = min(chained[person] + 1, len(_RANKS) - 1)
        name = draw(st.sampled_from(names))
        email = {"email": f"e{person}@x"} if "e" in kinds else {}
        own = {"device": {"id": f"d{person}-{device}"}} if "d" in kinds else {}
        form = {
            "type": "track",
            "event": name,
            "messageId": f"m{number}",
            "timestamp": format_instant(at_ms),
            "properties": draw(properties()) | (draw(purchases()) if name in ORDERS else {}),
            "context": {"traits": draw(properties()) | email, **own},
        }
        ids = {"a": ("anonymousId", f"a{person}-{device}"), "u": ("userId", f"u{person}")}
        form |= dict(ids[kind] for kind in kinds if kind in ids)
        found.append(json.dumps(form).encode())
    return found


class Life:
    """A network in which segments are published at random moments, and the replay of the same events.

    ``waits``: the logs are read to their ends after each event, so that all arrives in the order of the
    replay. Otherwise claims, held events and hand-overs are under way at any time.
    """

    def __init__(self, after: SegmentSet, network: BackfillNetwork, *, waits: bool) -> None:
        self.network, self.rng = network, network.random
        self._after, self._waits = after, waits
        self._replay = Replay(after, wall_ms=WALL_MS)
        #: Persons of whom history cannot give all: a profile was split off.
        self._split = set[str]()

    def run(self, events: list[bytes]) -> None:
        """Post the events, and do random things in between."""
        network, rng = self.network, self.rng
        moments = [rng.randrange(len(events)) for _ in range(network.number)]
        note(f"published at {moments}")
        for number, line in enumerate(events):
            network.post(line, number)
            list(self._replay.feed(line, default_id=""))
            if self._waits:
                network.drain()
            for partition in range(network.number):
                if moments[partition] == number:
                    network.publish(self._after, partition)
            self._work()
            if rng.random() < 0.2:
                network.crash(rng.randrange(network.number), keep_store=rng.random() < 0.5)
            if rng.random() < 0.04:
                rng.choice([self._erase, self._divide])()
                self._work()

    def _work(self) -> None:
        for _ in range(self.rng.choice([0, 0, 3, 12, 40])):
            self.network.step()

    def _erase(self) -> None:
        self.network.drain()
        identifier = self.rng.choice(sorted(self._replay.profiles))
        note(f"erases {identifier}")
        erase = Erase(identifier, Erasing("request"))
        self.network.send(erase)
        list(self._replay._deliver([msgspec.structs.replace(erase)], self._replay.clock_ms or 0))
        self.network.drain()

    def _divide(self) -> None:
        self.network.drain()
        handovers = self.network.handovers()
        if handovers:
            handover = self.rng.choice(handovers)
            note(f"splits {handover.source} off")
            self.network.send(split_of(handover))
            self._split.add(customer_of(handover.source))

    def end(self) -> None:
        """Let everything happen; members must be those of the replay, long after every window too."""
        last_ms = self._replay.clock_ms or 0
        for after_ms in _ENDS_MS:
            self.network.tick(last_ms + after_ms)
            self.network.settle()
            list(self._replay.advance(last_ms + after_ms))
            found = self._comparable(members(self.network))
            replayed = {key: set(each.members) for key, each in self._replay.profiles.items()}
            assert found == self._comparable(replayed)

    def _comparable(self, found: dict[str, set[str]]) -> dict[str, set[str]]:
        return {key: keys for key, keys in found.items() if keys and customer_of(key) not in self._split}


def customer_of(identifier: str) -> str:
    """Return the number of the person to whom an identifier belongs.

    >>> customer_of("anonymous_id:a1-0")
    '1'
    """
    return identifier.partition(":")[2][1]


@examples(30, of=300)
@given(st.data(), st.booleans(), st.integers(1, 6), st.booleans(), st.integers(0, 10**6))
def test_members_after_a_backfill_are_those_of_segments_live_from_the_start(
    data: Any, waits: bool, partitions: int, transactional: bool, seed: int
) -> None:
    before, after = data.draw(rule_sets(waits))
    events = data.draw(lines(waits))
    network = BackfillNetwork(before, partitions, seed=seed, transactional=transactional)
    life = Life(after, network, waits=waits)
    life.run(events)
    life.end()
