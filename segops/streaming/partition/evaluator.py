"""Evaluate one profile: apply an event, a message, time or new definitions within the bound of its state.

An evaluator is stateless: its caller stores the profile and publishes the result.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Final

from segops.core.engine import Engine
from segops.core.errors import RejectedEvent, UnstorableError
from segops.core.events import Event
from segops.core.identifiers import Rules
from segops.core.identity.protocol import Identity
from segops.core.messages import Forward, Handover, Message
from segops.core.profile import Profile
from segops.core.step import StepResult
from segops.schemas.records import Record
from segops.schemas.state import decode_profile, encode_profile
from segops.streaming.partition.cached_profile import CachedProfile

STATE_TOO_LARGE: Final = "state_too_large"


class ProfileEvaluator:
    """Takes the steps of profiles by one set of definitions; ``max_state_bytes`` bounds a stored profile."""

    def __init__(self, engine: Engine, rules: Rules, *, max_state_bytes: int) -> None:
        self.engine = engine
        self.version = engine.version
        self.context_keys = engine.segments.context_keys
        self._rules = rules
        self._identity = Identity(engine, rules)
        self._max_state_bytes = max_state_bytes
        self._large = max_state_bytes // 2

    def adopt(self, engine: Engine) -> ProfileEvaluator:
        """Return an evaluator with other definitions."""
        return ProfileEvaluator(engine, self._rules, max_state_bytes=self._max_state_bytes)

    def event(self, cached: CachedProfile, record: Record, event: Event, *, clock_ms: int) -> StepResult:
        """Apply an event. Raises RejectedEvent when the profile would become too large."""
        cached.size += len(record.value or b"")
        if cached.size > self._large:
            step = partial(self._identity.on_event, event=event, clock_ms=clock_ms)
            return self._fitting(cached, record, step)
        result = self._identity.on_event(cached.profile, event, clock_ms=clock_ms)
        cached.profile.applied = record.offset
        return result

    def message(
        self, cached: CachedProfile, record: Record, message: Message, *, clock_ms: int
    ) -> StepResult:
        """Apply a message from another profile. Raises RejectedEvent as ``event`` does."""
        cached.size += len(record.value or b"")
        full = isinstance(message, Handover) and self._overflows(cached.profile, message, record)
        step = partial(self._identity.on_message, message=message, clock_ms=clock_ms, full=full)
        # Only forwarded events may be rejected: the senders of other messages rely on them.
        if cached.size > self._large and isinstance(message, Forward):
            return self._fitting(cached, record, step)
        result = step(cached.profile)
        cached.profile.applied = record.offset
        return result

    def _overflows(self, profile: Profile, handover: Handover, record: Record) -> bool:
        """Whether a profile would be too large after the merge: by stored size, so that replays agree."""
        if handover.state is None:
            return False
        return len(encode_profile(profile)) + len(record.value or b"") > self._max_state_bytes

    def _fitting(
        self, cached: CachedProfile, record: Record, step: Callable[[Profile], StepResult]
    ) -> StepResult:
        """Take a step by an event, and undo it if the profile becomes too large."""
        before = encode_profile(cached.profile)
        result = step(cached.profile)
        cached.profile.applied = record.offset
        reason = f"the profile would exceed {self._max_state_bytes} bytes"
        try:
            cached.size = len(encode_profile(cached.profile))
            if cached.size <= self._max_state_bytes or cached.size <= len(before):
                return result
        except UnstorableError as error:
            reason = str(error)
        cached.profile, cached.size = decode_profile(before), len(before)
        cached.profile.applied = record.offset
        raise RejectedEvent(STATE_TOO_LARGE, reason)

    def timer(self, profile: Profile, *, clock_ms: int) -> StepResult:
        """Fire the due timers."""
        return self._identity.on_timer(profile, clock_ms=clock_ms)

    def definitions(self, profile: Profile, *, since_ms: int) -> StepResult:
        """Evaluate by these definitions, as of when they took effect: profiles may come in any order."""
        return self._identity.on_definitions(profile, clock_ms=since_ms)

    def release(self, profile: Profile, was: Collection[str], *, clock_ms: int) -> StepResult:
        """Prepare a profile released from quarantine; ``was`` are its published memberships."""
        return self.engine.on_release(self.engine.open(profile), was, clock_ms=clock_ms)
