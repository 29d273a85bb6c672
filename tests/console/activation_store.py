"""The topics of audiences in memory: what the operations read, and what they would write in a transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from segops.core.audiences.audit import AuditEntry, Trust, entry_of
from segops.core.audiences.model import Act, Reach, Step
from segops.destinations import published
from segops.operations import destinations as outside
from segops.operations.audiences import actions, store
from segops.operations.audiences.store import Decision, Known
from segops.operations.definitions import in_use
from segops.schemas.audiences import decode_record, encode_record
from segops.schemas.segments import definition_from_record

from .activation_board import STEPS, Board
from .helpers import NOW_MS, Answer, Browser, as_user


class _Topic:
    """A topic of resources."""

    def __init__(self, records: Mapping[str, Any]) -> None:
        self._records = records

    async def read(self) -> Mapping[str, Any]:
        return self._records


class MemoryTopics:
    """Takes decisions over from the real operations, and publishes them to a board."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.entries: list[AuditEntry] = []
        self.members = STEPS[-1][1]

    def patch(self, put: Callable[[Any, str, Any], None]) -> None:
        """Replace Kafka, the workers and the clock; ``put`` is ``monkeypatch.setattr``."""
        for name in ("read_known", "commit", "measure_published"):
            put(actions, name, getattr(self, name))
        put(actions, "moves_since_approval", self.moves)
        put(actions, "wall_ms", lambda: NOW_MS)
        put(outside, "audiences_topic", lambda _: _Topic(self.board.audiences))
        put(published, "topic_of", lambda _: _Topic(self.board.destinations))

    def _known(self, settings: Any, now_ms: int) -> Known:
        log = self.board.log
        trust = Trust(settings.audiences.verifying_keys)
        return Known(log, in_use(log.live), dict(self.board.audiences), trust, now_ms)

    async def read_known(self, settings: Any, *, now_ms: int) -> Known:
        return self._known(settings, now_ms)

    async def commit(self, settings: Any, act: Act, decide: Any) -> Sequence[Decision]:
        decisions: Sequence[Decision] = decide(self._known(settings, act.at_ms))
        for each in decisions:
            record, _, signed = store._written(each, act, settings.audiences.signing_key)
            self.entries.append(entry_of(signed))
            self.board.audiences[record.audience.key] = decode_record(encode_record(record))
            for change in each.changes:
                if change.record is not None:
                    definition = definition_from_record(change.record)
                    if definition is None:
                        self.board.definitions.pop(change.key)
                    else:
                        self.board.definitions[change.key] = definition
        return decisions

    async def measure_published(self, *_: Any) -> Reach:
        steps = [*STEPS[:-1], ("hold-out", self.members)]
        return Reach(tuple(Step(*each) for each in steps), 41_250, 0, 0)

    async def moves(self, *_: Any) -> None:
        return None

    @property
    def said(self) -> list[tuple[str, str, str, bool]]:
        """Who did what, with which state afterwards, and whether the name was proved."""
        return [(each.by.actor, each.action, each.state, each.by.verified) for each in self.entries]


async def post_as(browser: Browser, path: str, fields: Mapping[str, str], role: str, name: str) -> Answer:
    """Post a form as a user of the proxy, by a script."""
    who = as_user(role, name)
    token = (await browser.get("/session.json", **who)).json["csrf"]
    return await browser.submit(path, fields, token=token, script=True, **who)
