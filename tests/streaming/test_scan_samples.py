"""Scans of a sample visit the profiles that a walk through all of them finds, whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.core.scans import Estimate, HeldIds, in_sample
from segops.core.scans.sampling import sampling_hash
from segops.schemas.scans import DONE, decode_result, estimate_request
from segops.schemas.segments import inline
from segops.stores.memory import MemoryStores
from segops.streaming.partition import profile_cache, scans
from segops.streaming.partition.profile_cache import ProfileCache
from tests.rest import examples

from .test_scan_jobs import FORMS, Partition, engine_of, request

IDS: Final = [f"user_id:{number}" for number in range(40)]
SHARES: Final = (0.02, 0.1, 0.25, 0.4, 0.7, 0.99)
_shares = st.sampled_from(SHARES)


@pytest.fixture(autouse=True)
def few() -> Iterator[None]:
    """Hold at most eight ids, which are found three at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(profile_cache, "HeldIds", partial(HeldIds, most=8))
        patch.setattr(profile_cache, "_IDS_READ", 3)
        yield


# -- the ids that are held ---------------------------------------------------------------------------------

_edits = st.lists(st.tuples(st.sampled_from(IDS), st.booleans()), max_size=80)


@given(_edits, st.integers(1, 12), st.floats(0.001, 1))
def test_held_ids_are_all_ids_of_each_share_that_is_covered(
    edits: list[tuple[str, bool]], most: int, share: float
) -> None:
    held, known = HeldIds(most), set[str]()
    for profile_id, is_added in edits:
        (held.add if is_added else held.discard)(profile_id)
        (known.add if is_added else known.discard)(profile_id)
        assert len(held) <= most
    if held.covers(share):
        assert sorted(held.within(share)) == sorted(each for each in known if in_sample(each, share))
    assert held.covers(held.share) and (held.share == 1 or not held.covers(held.share * 1.001))


def test_the_share_is_halved_no_more_than_needed() -> None:
    held = HeldIds(8)
    for at, profile_id in enumerate(IDS):
        held.add(profile_id)
        seen = [sampling_hash(each) / 2**64 for each in IDS[: at + 1]]
        fitting = next(share for n in range(9) if sum(h < (share := 0.5**n) for h in seen) <= 8)
        assert held.share == fitting


# -- the profiles of one partition -------------------------------------------------------------------------


class Profiles:
    """The profiles of a partition in memory and in a store, beside the set of those that exist."""

    def __init__(self) -> None:
        self.store = MemoryStores().open(0)
        self.cache = ProfileCache(self.store, engine_of(), lambda *_: pytest.fail("unreadable"), bound=3)
        self.known: set[str] = set()

    def create(self, profile_id: str) -> None:
        self.cache.touch(self.cache.get(profile_id))
        self.known.add(profile_id)

    def open(self, profile_id: str) -> None:
        """Load a profile, or begin a new one to which nothing is applied."""
        self.cache.get(profile_id)

    def delete(self, profile_id: str) -> None:
        for entry in self.cache.known((profile_id,)):
            self.cache.drop(entry)
            if entry.is_new:
                self.known.discard(profile_id)

    def checkpoint(self, _profile_id: str) -> None:
        self.store.write(chain.from_iterable(self.cache.snapshot().slices()), {})
        self.cache.written()

    def visited(self, ids: Sequence[str]) -> list[str]:
        return [each.id for each in self.cache.glimpse(ids) if each is not None]

    def scanned(self, share: float) -> list[str]:
        return [each for ids in self.cache.each_once(2, share) for each in self.visited(ids)]

    def sample(self, share: float) -> list[str]:
        return sorted(each for each in self.known if in_sample(each, share))


Step = tuple[Callable[[Profiles, str], None], str]
OPS: Final = (Profiles.create, Profiles.create, Profiles.open, Profiles.delete, Profiles.checkpoint)
_steps = st.lists(st.tuples(st.sampled_from(OPS), st.sampled_from(IDS)), max_size=40)


@examples(30, of=400)
@given(st.lists(st.tuples(_steps, _shares), min_size=1, max_size=6))
def test_scans_of_a_sample_visit_what_a_walk_finds(rounds: list[tuple[list[Step], float]]) -> None:
    profiles = Profiles()
    for steps, share in rounds:
        for step, profile_id in steps:
            step(profiles, profile_id)
        assert sorted(profiles.scanned(share)) == profiles.sample(share)
        held = profiles.cache._held
        assert held is not None and sorted(held.within(held.share)) == profiles.sample(held.share)


@examples(40, of=600)
@given(_steps, st.lists(st.tuples(_shares, _steps, st.integers(0, 40)), min_size=1, max_size=4))
def test_profiles_that_exist_throughout_a_scan_are_visited_once(
    before: list[Step], asked: list[tuple[float, list[Step], int]]
) -> None:
    profiles = Profiles()
    for step, profile_id in before:
        step(profiles, profile_id)
    for share, steps, given_up_at in asked:
        kept, ever, found = set(profiles.known), set(profiles.known), list[str]()
        todo = iter(steps)
        for number, ids in enumerate(profiles.cache.each_once(2, share)):
            found += profiles.visited(ids)
            for step, profile_id in islice(todo, 1):
                step(profiles, profile_id)
            kept, ever = kept & profiles.known, ever | profiles.known
            if number == given_up_at:
                break
        else:
            assert len(found) == len(set(found))
            assert {each for each in kept if in_sample(each, share)} <= set(found)
            assert set(found) <= {each for each in ever if in_sample(each, share)}
        assert sorted(profiles.scanned(share)) == profiles.sample(share)


class _Counted(Profiles):
    """Profiles that are all stored; ``reads`` counts how often the store is asked for ids."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.reads, read = 0, self.store.profile_ids

        def counted(after: str | None, limit: int) -> list[str]:
            self.reads += 1
            return read(after, limit)

        monkeypatch.setattr(self.store, "profile_ids", counted)
        for profile_id in IDS:
            self.create(profile_id)
        self.checkpoint("")

    def reads_for(self, share: float) -> bool:
        """Return whether a scan of a sample reads the ids in the store."""
        before = self.reads
        assert sorted(self.scanned(share)) == self.sample(share)
        return self.reads > before


def test_the_store_is_read_once_for_the_samples_that_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    profiles = _Counted(monkeypatch)
    assert [profiles.reads_for(share) for share in (0.1, 0.1, 0.05, 0.7, 0.1)] == [
        True,
        False,
        False,
        True,
        False,
    ]


def test_a_sample_that_became_thin_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    profiles = _Counted(monkeypatch)
    assert profiles.reads_for(0.9) and profiles.reads_for(0.9)
    for profile_id in IDS[3:]:
        profiles.delete(profile_id)
    profiles.checkpoint("")
    assert profiles.reads_for(0.9) and not profiles.reads_for(0.9)


# -- a scan of a partition ---------------------------------------------------------------------------------


def estimated(partition: Partition, name: str, share: float) -> Estimate:
    drafts = inline([{**FORMS[1], "key": "draft"}], "test", "segments")
    partition.send(request(name, asked := estimate_request("draft", drafts, share=share)))
    partition.scan()
    assert (partition.answer.scan, partition.answer.state) == (name, DONE), partition.answer.reason
    found: Estimate = decode_result(asked, partition.answer.result)
    return found


def test_estimates_of_a_sample_count_the_profiles_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scans, "_SHARE_S", -1.0)
    partition, known = Partition(cache_profiles=2), dict[str, int]()

    def check(name: str) -> None:
        for share in (0.1, 0.3, 0.9):
            found = estimated(partition, f"{name} {share}", share)
            chosen = [times for each, times in known.items() if in_sample(each, share)]
            assert (found.evaluated, found.holds) == (len(chosen), chosen.count(2))
            assert found.share == share

    for number in range(30):
        partition.view(f"u{number}", times=1 + number % 2)
        known[f"user_id:u{number}"] = 1 + number % 2
    partition.checkpoint()
    check("first")
    for number in range(30, 45):
        partition.view(f"u{number}", times=2)
        known[f"user_id:u{number}"] = 2
    check("not stored yet")
    partition.checkpoint()
    check("stored")
