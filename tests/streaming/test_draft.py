"""Drafts: history is collected for a plan, which then says what publishing does, change for change."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from segops.core.scans import ENTERING, FOLLOWED_SHARE, STAYING, Plan, SegmentFlapping, flapping
from segops.core.segments import SegmentSet
from segops.core.values import format_instant
from segops.schemas.scans import Watch
from segops.schemas.state import encode_profile
from tests.rest import examples, few_of

from .backfill_network import BackfillNetwork
from .helpers import START_MS
from .test_backfill import AFTER, BEFORE, END_MS, HOUR, LATER, crowd, members, replayed, segments_in
from .test_backfill_truth import lines, rule_sets

#: An instant at which some windows of `crowd` are over and others are not.
NOW_MS = START_MS + 26 * HOUR


def moves(plan: Plan) -> Counter[tuple[str, bool]]:
    """Return the numbers of a plan by segment and direction."""
    found = Counter[tuple[str, bool]]()
    for key, each in plan.segments.items():
        found[key, True], found[key, False] = each.entering, each.leaving
    return +found


def flows(network: BackfillNetwork, before: set[str]) -> Counter[tuple[str, bool]]:
    """Return the changes published since, by segment and direction."""
    found = [change for key, change in network.published.items() if key not in before]
    assert {change["reason"] for change in found} <= {"definition", "backfill"}
    return Counter((change["segment_key"], change["member"]) for change in found)


def states(network: BackfillNetwork) -> dict[str, bytes]:
    return {key: encode_profile(profile) for key, profile in network.profiles().items()}


def lived(network: BackfillNetwork, events: list[bytes], tick_ms: int | None = None) -> None:
    for number, line in enumerate(events):
        network.post(line, number)
    if tick_ms is not None:
        network.tick(tick_ms)
    network.settle()


def check_plan(network: BackfillNetwork, after: SegmentSet) -> Plan:
    """Plan a draft, publish it, and check that the plan said what happened, and changed nothing itself."""
    network.settle()
    before, stored = set(network.published), states(network)
    plan = network.plan(after)
    assert not any(each.waits for each in plan.segments.values())
    assert set(network.published) == before and states(network) == stored
    sizes, read = Counter(network.sizes()), network.past_read
    network.publish(after)
    network.draft(None)
    network.settle()
    assert flows(network, before) == moves(plan)
    assert network.past_read == read, "history was read again"
    for key, each in plan.segments.items():
        assert (sizes[key], Counter(network.sizes())[key]) == (each.members, each.then)
    return plan


@examples(25, of=120)
@given(rule_sets(True), lines(True), st.integers(1, 6), st.booleans(), st.randoms(use_true_random=False))
def test_plan_of_a_draft_equals_what_publishing_it_does_change_for_change(
    sets: tuple[SegmentSet, SegmentSet], events: list[bytes], partitions: int, transactional: bool, rng: Any
) -> None:
    before, after = sets
    network = BackfillNetwork(before, partitions, seed=rng.randrange(10**6), transactional=transactional)
    if network.newest[0].version == after.version:
        return
    moments = [rng.randrange(len(events)) for _ in range(partitions)]
    note(f"drafted at {moments}")
    for number, line in enumerate(events):
        network.post(line, number)
        for partition in range(partitions):
            if moments[partition] == number:
                network.draft(after, partition)
        for _ in range(rng.randrange(12)):
            network.step()
        if rng.random() < 0.2:
            network.crash(rng.randrange(partitions), keep_store=rng.random() < 0.5)
    check_plan(network, after)
    assert network.rows() == 0


@pytest.mark.parametrize("seed", range(8))
def test_members_after_a_draft_is_published_are_those_of_segments_live_from_the_start(
    seed: int, tmp_path: Path
) -> None:
    after, events = segments_in(AFTER, tmp_path), crowd(seed)
    network = BackfillNetwork(segments_in(BEFORE, tmp_path), 1 + seed % 4, seed=seed)
    lived(network, events, NOW_MS)
    network.draft(after)
    plan = check_plan(network, after)
    assert moves(plan).total() > 0
    assert plan.segments["spenders"].lacking == ["sum of total over Bought"]
    network.tick(END_MS)
    network.settle()
    assert members(network) == replayed(after, events)


def test_nothing_of_a_draft_is_in_profiles_sizes_or_the_definitions_in_force(tmp_path: Path) -> None:
    network = BackfillNetwork(segments_in(BEFORE, tmp_path), 2, figures_interval_ms=0)
    lived(network, crowd(1), NOW_MS)
    before, published = states(network), dict(network.published)
    network.draft(segments_in(AFTER, tmp_path))
    network.settle()
    assert network.rows() > 0
    assert (states(network), network.published) == (before, published)
    for number, processor in enumerate(network.processors):
        assert processor.in_force.segments.by_key.keys() == {"keen", "loyal"}
        found = network.sizes_of(number)
        assert {(key, each.state, each.progress) for key, each in found.items()} == {
            ("keen", "live", None),
            ("loyal", "live", None),
        }


def run_drafted(network: BackfillNetwork, events: list[bytes], steps: dict[int, Any]) -> None:
    """Post events and do random things; ``steps``: number of an event -> what to do then, per partition."""
    for number, line in enumerate(events):
        network.post(line, number)
        for at, act in steps.items():
            for partition in range(network.number):  # each sees it at an instant of its own
                if number == at + network.random.randrange(12) or number == at + 12:
                    act(partition)
        for _ in range(8):
            network.step()
    network.tick(END_MS)
    network.settle()


@pytest.mark.parametrize("transactional", [False, True])
@pytest.mark.parametrize("seed", few_of(range(20)))
def test_draft_is_published_while_events_flow_and_workers_crash(
    seed: int, transactional: bool, tmp_path: Path
) -> None:
    """Wherever its collecting is at that moment."""
    after, events = segments_in(AFTER, tmp_path), crowd(seed)
    network = BackfillNetwork(
        segments_in(BEFORE, tmp_path), 1 + seed % 6, seed=seed, transactional=transactional
    )
    trouble = (seed % 3) * 0.02

    def crash(partition: int) -> None:
        if network.random.random() < trouble * 20:
            network.crash(partition, keep_store=network.random.random() < 0.5)

    def publish(partition: int) -> None:
        network.publish(after, partition)
        network.draft(None, partition)

    steps: dict[int, Any] = {20: lambda n: network.draft(after, n)}
    steps |= dict.fromkeys((50, 65, 90), crash)
    steps[30 + 10 * (seed % 7)] = publish
    run_drafted(network, events, steps)
    assert members(network) == replayed(after, events)


@pytest.mark.parametrize("transactional", [False, True])
@pytest.mark.parametrize("seed", few_of(range(10)))
def test_other_definitions_are_published_while_a_draft_collects(
    seed: int, transactional: bool, tmp_path: Path
) -> None:
    after, later, events = segments_in(AFTER, tmp_path), segments_in(LATER, tmp_path), crowd(seed)
    network = BackfillNetwork(
        segments_in(BEFORE, tmp_path), 1 + seed % 6, seed=seed, transactional=transactional
    )

    def publish(partition: int) -> None:
        network.publish(later, partition)
        network.draft(None, partition)

    drafted = {10: lambda n: network.draft(after, n)}
    run_drafted(network, events, {**drafted, 30 + 10 * (seed % 7): publish})
    assert members(network) == replayed(later, events)


@pytest.mark.parametrize("seed", range(4))
def test_draft_is_replaced_and_its_rows_serve_the_next_one(seed: int, tmp_path: Path) -> None:
    later, after = segments_in(LATER, tmp_path), segments_in(AFTER, tmp_path)
    network = BackfillNetwork(segments_in(BEFORE, tmp_path), 1 + seed, seed=seed)
    lived(network, crowd(seed), NOW_MS)
    network.draft(after, plan_id="first")
    network.settle()
    read = network.past_read
    network.draft(after, plan_id="second")  # the same edit
    network.settle()
    fewer = SegmentSet(each for each in after.definitions if each.key != "seekers")
    network.draft(fewer)
    network.settle()
    assert network.past_read == read
    network.draft(later)
    check_plan(network, later)
    assert network.rows() == 0


def test_ended_draft_leaves_no_rows(tmp_path: Path) -> None:
    network = BackfillNetwork(segments_in(BEFORE, tmp_path), 3)
    lived(network, crowd(2), NOW_MS)
    before = states(network)
    network.draft(segments_in(AFTER, tmp_path))
    network.settle()
    assert network.rows() > 0
    network.draft(None)
    network.settle()
    assert network.rows() == 0
    assert states(network) == before
    assert all(each.backfill.draft is None and each.backfill.version is None for each in network.processors)


def test_lost_rows_are_read_again_while_events_are_applied(tmp_path: Path) -> None:
    events, after = crowd(3), segments_in(AFTER, tmp_path)
    network = BackfillNetwork(segments_in(BEFORE, tmp_path), 3)
    lived(network, events[:100])
    network.draft(after)
    network.settle()
    for number, line in enumerate(events[100:], 100):
        network.post(line, number)
    for number in range(3):
        network.read(number, 5)
        network.crash(number, keep_store=False)
    processor = network.processors[0]
    assert processor.backfill.gap is not None and not processor.backfill.is_blocked
    assert not processor.backfill.has_history_for("plan")
    network.tick(NOW_MS)
    check_plan(network, after)
    network.tick(END_MS)
    network.settle()
    assert members(network) == replayed(after, events)


def test_published_definitions_that_need_history_come_before_a_draft(tmp_path: Path) -> None:
    after, later = segments_in(AFTER, tmp_path), segments_in(LATER, tmp_path)
    network = BackfillNetwork(segments_in(BEFORE, tmp_path), 2)
    lived(network, crowd(4), NOW_MS)
    network.publish(after)
    network.draft(later)
    for number in range(2):
        network.work(number)
    assert all(each.backfill.draft is None for each in network.processors)
    check_plan(network, later)


def test_plan_says_from_when_on_the_events_are_retained(tmp_path: Path) -> None:
    network = BackfillNetwork(segments_in(BEFORE, tmp_path), 1)
    lived(network, crowd(5), NOW_MS)
    network.draft(segments_in(AFTER, tmp_path))
    network.work(0)
    backfill = network.processors[0].backfill
    assert backfill.gap is not None
    cut_ms = NOW_MS - 12 * HOUR
    assert backfill.read((), *backfill.gap, since_ms=cut_ms)
    network.settle()
    found = network.plan(segments_in(AFTER, tmp_path)).segments
    since = {key: each.complete_since_ms for key, each in found.items()}
    assert (since["dear"], since["viewers"], since["seekers"]) == (cut_ms, cut_ms, cut_ms)
    assert check_plan(network, segments_in(AFTER, tmp_path)).segments.keys() == since.keys()
    again = network.processors[0].backfill.planned_since(segments_in(AFTER, tmp_path), NOW_MS)
    assert again == {key: at for key, at in since.items() if at}


# -- watches ----------------------------------------------------------------------------------------------

#: `often` needs what profiles do not hold.
OFTEN = BEFORE + "  - {key: often, when: {did: Viewed, count: {gte: 2}, within: 5h}}\n"


def views(rng: Any, number: int, begin: int) -> list[bytes]:
    """Return views of eight persons, ten minutes apart."""
    return [
        json.dumps(
            {
                "type": "track",
                "event": "Viewed",
                "userId": f"u{rng.randrange(8)}",
                "messageId": f"v{n}",
                "timestamp": format_instant(START_MS + n * 600_000),
            }
        ).encode()
        for n in range(begin, begin + number)
    ]


def members_then(plan: Plan, key: str) -> set[str]:
    samples = plan.segments[key].samples
    return {each.profile_id for kind in (ENTERING, STAYING) for each in samples.get(kind, ())}


@pytest.mark.parametrize("transactional", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_watch_of_a_draft_recounts_who_enters_and_leaves_and_reads_history_once(
    seed: int, transactional: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flapping, "in_sample", lambda *_: True)
    rng, after, watch = random.Random(seed), segments_in(OFTEN, tmp_path), Watch("w", FOLLOWED_SHARE)
    network = BackfillNetwork(segments_in(BEFORE, tmp_path), 1 + seed, seed=seed, transactional=transactional)
    lived(network, views(rng, 60, 0))
    network.draft(after)
    network.settle()
    read, changes, former = network.past_read, Counter[str](), None
    ever = set[str]()
    for repeat in range(9):
        lived(network, views(rng, 12, 60 + 12 * repeat), START_MS + (60 + 12 * (repeat + 1)) * 600_000)
        plan = network.plan(after, samples=100, watch=watch)
        now = members_then(plan, "often")
        changes.update(now ^ (now if former is None else former))
        former, ever = now, ever | now
    found = plan.flapping
    assert found is not None and (found.repeats, found.profiles) == (9, 8)
    assert found.segments["often"] == SegmentFlapping(
        len(ever), changes.total(), sum(number > 1 for number in changes.values()), max(changes.values())
    )
    assert found.segments["often"].flapping > 0
    assert network.past_read == read > 0
