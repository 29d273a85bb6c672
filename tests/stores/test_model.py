"""Random operations on a store against a model of dictionaries."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from segops.stores.base import ProfileStore, StoreFactory, Write
from segops.stores.memory import MemoryStores
from segops.stores.rocksdb import RocksDBStores

PROFILES = st.sampled_from(["", "a", "a\0", "b", "user_id:1", "user_id:10", "\u00e9", "\U0001f600"])
TIMES = st.one_of(st.integers(-3, 3), st.integers(-(2**62), 2**62), st.sampled_from([2**32, -(2**32)]))
CHANGES = st.lists(st.tuples(PROFILES, st.none() | st.binary(max_size=4), st.none() | TIMES), max_size=6)


class StoreMachine(RuleBasedStateMachine):
    """A store beside its model: dictionaries of states, due times and named values."""

    def __init__(self) -> None:
        super().__init__()
        self.stores = self.make_stores()
        self.store: ProfileStore = self.stores.open(0)
        self.states: dict[str, bytes] = {}
        self.due: dict[str, int] = {}
        self.meta: dict[str, bytes] = {}

    def make_stores(self) -> StoreFactory:
        return MemoryStores()

    @rule(changes=CHANGES, value=st.binary(max_size=2))
    def write(self, changes: list[tuple[str, bytes | None, int | None]], value: bytes) -> None:
        writes = []
        for profile_id, state, due_ms in changes:
            new_due = None if state is None else due_ms
            writes.append(Write(profile_id, state, self.due.pop(profile_id, None), new_due))
            self.states.pop(profile_id, None)
            if state is not None:
                self.states[profile_id] = state
            if new_due is not None:
                self.due[profile_id] = new_due
        self.meta["offset"] = value
        self.store.write(writes, {"offset": value})

    @rule(changes=CHANGES)
    def load(self, changes: list[tuple[str, bytes | None, int | None]]) -> None:
        rows = []
        for profile_id, state, due_ms in changes:
            new_due = None if state is None else due_ms
            rows.append((profile_id.encode(), state, self.due.pop(profile_id, None), new_due))
            self.states.pop(profile_id, None)
            if state is not None:
                self.states[profile_id] = state
            if new_due is not None:
                self.due[profile_id] = new_due
        self.store.load(rows, {})
        self.store.flush()

    @rule(until_ms=TIMES, limit=st.integers(0, 5))
    def ask_due(self, until_ms: int, limit: int) -> None:
        rows = sorted((at, profile_id) for profile_id, at in self.due.items() if at <= until_ms)
        assert self.store.due(until_ms, limit) == rows[:limit]

    @rule(until_ms=TIMES, limit=st.integers(1, 3))
    def process_due(self, until_ms: int, limit: int) -> None:
        worked_off = self.store.due(until_ms, limit)
        self.store.write([Write(id_, self.states[id_], at, None) for at, id_ in worked_off], {})
        for _, profile_id in worked_off:
            del self.due[profile_id]

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = self.stores.open(0)

    @invariant()
    def states_and_meta_match_the_model(self) -> None:
        asked = ["absent", *self.states]
        assert self.store.get_many(asked) == [None, *self.states.values()]
        assert self.store.profile_ids(None, 100) == sorted(self.states)
        assert self.store.meta("offset") == self.meta.get("offset")

    def teardown(self) -> None:
        self.store.close()


class RocksDBMachine(StoreMachine):
    def make_stores(self) -> StoreFactory:
        self.folder = tempfile.mkdtemp()
        return RocksDBStores(Path(self.folder), block_cache_bytes=1 << 20, write_buffer_bytes=1 << 20)

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.folder)


TestMemoryAgainstTheModel = StoreMachine.TestCase
TestMemoryAgainstTheModel.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestRocksDBAgainstTheModel = RocksDBMachine.TestCase
TestRocksDBAgainstTheModel.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
