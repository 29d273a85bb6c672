"""A segment published while events flow ends with the members of one that was live from the start."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from segops.core.messages import Erase
from segops.core.profile import Erasing
from segops.core.segments import SegmentSet
from segops.core.values import format_instant
from segops.replay import Replay
from segops.schemas.messages import split_of
from segops.schemas.segments import load
from tests.rest import few_of

from .backfill_network import WALL_MS, BackfillNetwork
from .helpers import START_MS

HOUR = 3_600_000
END_MS = START_MS + 60 * HOUR

BEFORE = """
version: 1
segments:
  - key: keen
    when: {did: Viewed, count: {gte: 2}, within: 6h}
  - key: loyal
    when: {did: Viewed, count: {gte: 3}, within: 60d}
"""
AFTER = """
version: 1
segments:
  - key: keen
    when: {did: Viewed, count: {gte: 2}, within: 6h}
  - key: loyal
    when: {did: Viewed, count: {gte: 9}, within: 60d}
  - key: viewers
    when: {did: Viewed, count: {gte: 3}}
  - key: spenders
    when: {sum: total, of: Bought, is: {gte: 300}}
  - key: dear
    when: {max: total, of: Bought, is: {gte: 150}, within: 30d}
  - key: various
    when: {distinct: total, of: Bought, is: {gte: 3}, within: 30d}
  - key: invited
    when: {did: any_event, where: {context.campaign.source: ads}, count: {gte: 2}, within: 30d}
  - key: fillers
    when: {sum: items.price, of: Bought, is: {gte: 60}}
  - key: shod
    when: {distinct: items.kind, of: Bought, is: {gte: 2}, within: 30d}
  - key: seekers
    when:
      sequence: [{did: Viewed}, {did: Bought, within: 12h}]
  - key: quiet
    when: {all: [{did_not: Bought, within: 24h}, {in_segment: viewers}]}
"""
#: As AFTER, but for an edited, a new and a retired segment.
LATER = AFTER.replace("gte: 300", "gte: 200").replace(
    "  - key: seekers\n    when:\n      sequence: [{did: Viewed}, {did: Bought, within: 12h}]\n",
    "  - key: newest\n    when: {latest: total, of: Bought, is: {gte: 100}}\n",
)


def segments_in(text: str, folder: Path) -> SegmentSet:
    """Return these segments, with the versions that publishing one text after the other gives them."""
    file = folder / "segments.yaml"
    file.write_text(text)
    versions = {"loyal": 1 if text == BEFORE else 2, "spenders": 2 if text == LATER else 1}
    return SegmentSet(
        msgspec.structs.replace(each, version=versions.get(each.key, 1)) for each in load([file])
    )


def crowd(seed: int, count: int = 150) -> list[bytes]:
    """Return events of persons whose two devices, e-mail and user id are linked little by little."""
    rng = random.Random(seed)
    found = []
    for number in range(count):
        person, device = rng.randrange(5), rng.randrange(2)
        ids = {"anonymousId": f"a{person}-{device}", "userId": f"u{person}"}
        campaign = {} if number % 3 else {"campaign": {"source": "ads"}}
        email = {"traits": {"email": f"e{person}@x"}}
        kinds = rng.choice(["anonymousId"] * 4 + ["userId", "email", "anonymousId email", "email userId"])
        form = {
            "type": "track",
            "event": rng.choice(["Viewed", "Viewed", "Bought"]),
            "messageId": f"m{number}",
            "timestamp": format_instant(START_MS + number * 600_000),
            "properties": {
                "total": rng.randrange(200),
                "items": [{"price": number % 7, "kind": number % 4}, {"price": 2, "kind": number % 3}],
            },
            **{key: value for key, value in ids.items() if key in kinds},
            "context": {**campaign, **(email if "email" in kinds else {})},
        }
        found.append(json.dumps(form).encode())
    return found


def replayed(segments: SegmentSet, lines: list[bytes], end_ms: int = END_MS) -> dict[str, set[str]]:
    replay = Replay(segments, wall_ms=WALL_MS)
    for line in lines:
        list(replay.feed(line, default_id=""))
    list(replay.advance(end_ms))
    return {key: set(profile.members) for key, profile in replay.profiles.items()}


def members(network: BackfillNetwork) -> dict[str, set[str]]:
    """Return the members; the sizes must be those, and no row of history may be left."""
    found = {key: set(profile.members) for key, profile in network.profiles().items()}
    assert network.sizes() == Counter(key for keys in found.values() for key in keys)
    assert network.rows() == 0
    return found


def run(network: BackfillNetwork, lines: list[bytes], *published: SegmentSet, trouble: float = 0.0) -> None:
    """Post the lines; let each partition see what is published at moments of its own."""
    rng = network.random
    moments = {n: sorted(rng.randrange(len(lines)) for _ in published) for n in range(network.number)}
    left = list(enumerate(lines))
    while left:
        if rng.random() < 0.25:
            number, line = left.pop(0)
            network.post(line, number)
            for partition, at in moments.items():
                for moment, segments in zip(at, published, strict=True):
                    if moment == number:
                        network.publish(segments, partition)
        network.step()
        if rng.random() < trouble:
            network.crash(rng.randrange(network.number), keep_store=rng.random() < 0.5)
    network.tick(END_MS)
    network.settle()


@pytest.mark.parametrize("seed", range(8))
def test_quiet_publication(seed: int, tmp_path: Path) -> None:
    """Everything has arrived when the definitions are published."""
    lines = crowd(seed)
    after = segments_in(AFTER, tmp_path)
    network = BackfillNetwork(segments_in(BEFORE, tmp_path), 1 + seed % 4, seed=seed)
    for number, line in enumerate(lines):
        network.post(line, number)
    network.settle()
    network.publish(after)
    network.settle()
    network.tick(END_MS)
    network.settle()
    assert members(network) == replayed(after, lines)


@pytest.mark.parametrize("transactional", [False, True])
@pytest.mark.parametrize("seed", few_of(range(25)))
def test_publication_in_the_middle(seed: int, transactional: bool, tmp_path: Path) -> None:
    lines = crowd(seed)
    after = segments_in(AFTER, tmp_path)
    network = BackfillNetwork(
        segments_in(BEFORE, tmp_path), 1 + seed % 6, seed=seed, transactional=transactional
    )
    run(network, lines, after)
    assert members(network) == replayed(after, lines)


@pytest.mark.parametrize("transactional", [False, True])
@pytest.mark.parametrize("seed", few_of(range(25)))
def test_crashes_and_lost_disks(seed: int, transactional: bool, tmp_path: Path) -> None:
    lines = crowd(seed)
    after = segments_in(AFTER, tmp_path)
    network = BackfillNetwork(
        segments_in(BEFORE, tmp_path), 1 + seed % 6, seed=seed, transactional=transactional
    )
    run(network, lines, after, trouble=0.02)
    assert members(network) == replayed(after, lines)


@pytest.mark.parametrize("transactional", [False, True])
@pytest.mark.parametrize("seed", few_of(range(25)))
def test_publications_one_after_the_other(seed: int, transactional: bool, tmp_path: Path) -> None:
    """Some partitions see the second while they read for the first, some only the second."""
    lines = crowd(seed)
    before, after, later = (segments_in(text, tmp_path) for text in (BEFORE, AFTER, LATER))
    network = BackfillNetwork(before, 1 + seed % 6, seed=seed, transactional=transactional)
    run(network, lines, after, later, trouble=0.01 * (seed % 3))
    assert members(network) == replayed(later, lines)


@pytest.mark.parametrize("transactional", [False, True])
@pytest.mark.parametrize("seed", few_of(range(25)))
def test_erasure_in_each_phase(seed: int, transactional: bool, tmp_path: Path) -> None:
    """Events of an erased person are no history, whenever the person is erased; those after it are."""
    rng = random.Random(seed)
    lines, after = crowd(seed), segments_in(AFTER, tmp_path)
    network = BackfillNetwork(
        segments_in(BEFORE, tmp_path), 1 + seed % 6, seed=seed, transactional=transactional
    )
    replay = Replay(after, wall_ms=WALL_MS)
    erase = Erase(f"anonymous_id:a{rng.randrange(5)}-0", Erasing("request"))
    phases = [lines[:100], lines[100:]]
    publish_in, steps = rng.randrange(3), rng.choice([0, 10, 40, 150, 400])
    for phase, part in enumerate(phases):
        for number, line in enumerate(part, 100 * phase):
            network.post(line, number)
            list(replay.feed(line, default_id=""))
        network.drain()
        if phase == publish_in:
            network.publish(after)
            for _ in range(steps):
                network.step()
        if not phase:
            network.send(erase)
            list(replay._deliver([msgspec.structs.replace(erase)], replay.clock_ms or 0))
            network.drain()
    network.publish(after)
    network.tick(END_MS)
    network.settle()
    list(replay.advance(END_MS))
    found, expected = members(network), {key: set(each.members) for key, each in replay.profiles.items()}
    assert {key: keys for key, keys in found.items() if keys} == {
        key: keys for key, keys in expected.items() if keys
    }


@pytest.mark.parametrize("seed", few_of(range(25)))
def test_split_in_each_phase(seed: int, tmp_path: Path) -> None:
    """The persons that are not split are as if the segments had been live from the start."""
    rng = random.Random(seed)
    lines, after = crowd(seed), segments_in(AFTER, tmp_path)
    network = BackfillNetwork(segments_in(BEFORE, tmp_path), 1 + seed % 6, seed=seed)
    for number, line in enumerate(lines):
        network.post(line, number)
    network.drain()
    network.publish(after)
    for _ in range(rng.choice([0, 10, 40, 150, 400])):
        network.step()
    handover = rng.choice(network.handovers())
    network.send(split_of(handover))
    network.tick(END_MS)
    network.settle()
    person = handover.source.partition(":")[2][1]
    others, expected = (
        {key: keys for key, keys in found.items() if key.partition(":")[2][1] != person}
        for found in (members(network), replayed(after, lines))
    )
    assert others == expected
