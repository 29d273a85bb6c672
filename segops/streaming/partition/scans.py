"""Scans of one partition: jobs that visit each of its profiles once, in slices between batches of records.

A job changes nothing and lives in memory only. A worker that takes the partition over knows nothing of it, so
the client repeats its request until the partition has answered.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol

from segops.core.engine import Engine
from segops.core.errors import StateError, UserError
from segops.core.profile import Profile
from segops.core.scans import (
    Estimator,
    FollowedSamples,
    Forecaster,
    OverlapCounter,
    Planner,
    PopulationCounter,
    Visitor,
    draft_of,
    edit_of,
    population_named,
)
from segops.core.segments import SegmentSet
from segops.schemas.completing import filled
from segops.schemas.published_lookups import MissingColumn
from segops.schemas.published_models import carried_models
from segops.schemas.records import Record
from segops.schemas.scans import (
    BEHIND,
    BUSY,
    DONE,
    FAILED,
    REFUSED,
    RUNNING,
    Answer,
    Cancel,
    EstimateRequest,
    ForecastRequest,
    OverlapRequest,
    PlanRequest,
    PopulationRequest,
    ScanRequest,
    decode_request,
    encode_result,
)
from segops.schemas.sizes import Progress
from segops.streaming.partition.output import Output
from segops.streaming.partition.profile_cache import ProfileCache
from segops.wall_clock import wall_ms

#: Profiles that are read and visited at once.
SLICE: Final = 25
#: Time after which no further slice begins before the next batch of records, which waits meanwhile.
_SHARE_S: Final = 0.003
#: Scans that may wait for the one that runs.
MAX_WAITING: Final = 8
_REMEMBERED: Final = 1_000
_PROGRESS_S: Final = 1.0


class DraftHistory(Protocol):
    """The methods used of the backfill."""

    @property
    def progress(self) -> Progress | None: ...
    @property
    def since(self) -> Mapping[int, int]: ...
    def has_history_for(self, plan_id: str) -> bool: ...
    def fill(self, profile: Profile, now_ms: int) -> None: ...
    def planned_since(self, segments: SegmentSet, now_ms: int) -> Mapping[str, int]: ...


class _Basis(NamedTuple):
    """What a scan begins with: the definitions in force, the clock (ms), the history and the samples."""

    engine: Engine
    now_ms: int
    history: DraftHistory
    samples: FollowedSamples


def _forecast(ask: ForecastRequest, basis: _Basis) -> Visitor:
    _check(ask.segments, basis.engine)
    return Forecaster(basis.engine, ask.segments, from_ms=basis.now_ms)


def _overlap(ask: OverlapRequest, basis: _Basis) -> Visitor:
    _check(ask.segments, basis.engine)
    return OverlapCounter(ask.segments)


def _estimate(ask: EstimateRequest, basis: _Basis) -> Visitor:
    drafts = filled(ask.drafts(), carried_models(basis.engine.segments.all_definitions))
    if ask.segment not in {each.key for each in drafts}:
        raise UserError(f"missing definition of the segment {ask.segment!r}")
    draft = draft_of(ask.segment, drafts, basis.engine.segments)
    since = basis.history.since
    return Estimator(
        draft, share=ask.share, samples=ask.samples, funnel=ask.funnel, near=ask.near, since=since
    )


class _Behind(UserError):
    """The definitions in force are not those that a request is about."""


def _plan(ask: PlanRequest, basis: _Basis) -> Visitor:
    if basis.engine.version != ask.base:
        raise _Behind("the published definitions are not in force yet (they may wait for history)")
    live, fill = basis.engine.segments, basis.history.fill if ask.draft else None
    edit = edit_of(ask.changed(), ask.removed, live, filled=bool(ask.draft))
    since = basis.history.planned_since(edit.segments, basis.now_ms)
    followed = None if ask.watch is None else basis.samples.of(ask.watch.id, ask.watch.share)
    return Planner(edit, samples=ask.samples, fill=fill, since=since, followed=followed)


def _population(ask: PopulationRequest, basis: _Basis) -> Visitor:
    definitions = basis.engine.segments.all_definitions
    return PopulationCounter({name: population_named(name, definitions) for name in ask.models})


#: Type of a question -> its visitor. Raises UserError.
_VISITORS: Final[dict[type, Callable[[Any, _Basis], Visitor]]] = {
    ForecastRequest: _forecast,
    OverlapRequest: _overlap,
    EstimateRequest: _estimate,
    PlanRequest: _plan,
    PopulationRequest: _population,
}


def _check(keys: tuple[str, ...], engine: Engine) -> None:
    unknown = sorted(set(keys) - engine.segments.by_key.keys())
    if unknown:
        raise UserError(f"unknown segments: {', '.join(unknown)}")


class _Job:
    """One scan in progress, by the definitions that are in force at its start. Raises UserError."""

    def __init__(
        self,
        request: ScanRequest,
        profiles: ProfileCache,
        history: DraftHistory,
        samples: FollowedSamples,
        *,
        number: int,
        clock_ms: int,
    ) -> None:
        engine = profiles.engine
        self.request = request
        self.answer = Answer(
            request.scan, number, definitions=engine.version, from_ms=clock_ms, to_ms=clock_ms
        )
        basis = _Basis(engine, clock_ms, history, samples)
        self._visitor = _VISITORS[type(request.ask)](request.ask, basis)
        self._profiles = profiles
        self._walk = profiles.each_once(SLICE, self._visitor.share)

    def visit(self, clock_ms: int) -> None:
        """Visit the next slice of profiles; at the end, add the result to the answer."""
        answer, visitor = self.answer, self._visitor
        answer.to_ms = clock_ms
        ids = next(self._walk, None)
        if ids is None:
            answer.state, answer.result = DONE, encode_result(visitor.result())
            return
        for profile in self._profiles.glimpse(ids):
            if profile is None:
                answer.unreadable += 1
            elif _counts(profile):
                visitor.visit(profile, clock_ms)
                answer.profiles += 1


def _counts(profile: Profile) -> bool:
    """Return whether a profile is neither a redirect nor without events."""
    return profile.first_ms is not None and profile.merged_into is None


class ScanJobs:
    """The scans of one partition: they run one at a time, oldest first. ``now_ms`` reads the wall clock.

    The plan of a draft waits, and lets others pass, until the draft's history is collected.
    """

    def __init__(
        self,
        profiles: ProfileCache,
        output: Output,
        history: DraftHistory,
        *,
        now_ms: Callable[[], int] = wall_ms,
    ) -> None:
        #: The profiles visited since ``take_visited`` was last called.
        self._visited = 0
        self._profiles = profiles
        self._output = output
        self._history = history
        self._now_ms = now_ms
        self._waiting: deque[ScanRequest] = deque()
        self._job: _Job | None = None
        self._samples = FollowedSamples()
        self._begun: OrderedDict[str, None] = OrderedDict()
        self._reported_s = 0.0

    @property
    def pending(self) -> int:
        """The number of scans that run or wait."""
        return len(self._waiting) + (self._job is not None)

    def take_visited(self) -> int:
        """Return the number of profiles visited since the last call."""
        visited, self._visited = self._visited, 0
        return visited

    def take(self, record: Record) -> None:
        """Take a request from the log. Raises ValueError for an invalid one."""
        request = decode_request(record.value)
        if isinstance(request.ask, Cancel):
            self._cancel(request.scan)
        elif request.scan not in self._begun and all(each.scan != request.scan for each in self._waiting):
            self._waiting.append(request)

    def _cancel(self, scan: str) -> None:
        self._remember(scan)
        self._samples.forget(scan)
        self._waiting = deque(each for each in self._waiting if each.scan != scan)
        if self._job is not None and self._job.request.scan == scan:
            self._job = None

    def _remember(self, scan: str) -> None:
        """Note a scan that must not begin again when its request is repeated."""
        self._begun[scan] = None
        if len(self._begun) > _REMEMBERED:
            self._begun.popitem(last=False)

    def work(self, number: int, clock_ms: int) -> bool:
        """Continue the scans of partition ``number``; return whether there was anything to do.

        All timers due at ``clock_ms`` must have fired, and all profiles must be evaluated by the definitions
        in force.
        """
        self._refuse_surplus(number)
        job = self._current(number, clock_ms)
        if job is not None:
            self._advance(job, clock_ms)
        return job is not None

    def _refuse_surplus(self, number: int) -> None:
        while len(self._waiting) > MAX_WAITING:
            request = self._waiting.pop()
            reason = f"{MAX_WAITING} other scans wait already"
            self._output.answer(Answer(request.scan, number, BUSY, reason=reason))

    def _current(self, number: int, clock_ms: int) -> _Job | None:
        """Return the job to continue; a new one if none runs, or if the definitions changed meanwhile."""
        job = self._job
        if job is not None and self._is_expired(job.request):
            job = self._job = None
        if job is not None and job.answer.definitions != self._profiles.engine.version:
            job = self._begin(job.request, number, clock_ms)
        if job is not None and self._is_collecting(job.request):  # again, or for another plan
            self._waiting.appendleft(job.request)
            job = self._job = None
        return job or self._next(number, clock_ms)

    def _next(self, number: int, clock_ms: int) -> _Job | None:
        """Begin the first of the waiting scans that can begin."""
        waiting, self._waiting = self._waiting, deque()
        job = None
        while job is None and waiting:
            request = waiting.popleft()
            if self._is_expired(request) or (request.partitions and number not in request.partitions):
                continue
            if self._is_collecting(request):
                self._waiting.append(request)
            else:
                job = self._begin(request, number, clock_ms)
        self._waiting += waiting
        if job is None and self._waiting and time.monotonic() - self._reported_s > _PROGRESS_S:
            self._report(number)
        return job

    def _is_collecting(self, request: ScanRequest) -> bool:
        """Return whether the history that a request is about is not there yet."""
        ask = request.ask
        if not isinstance(ask, PlanRequest) or not ask.draft or ask.base != self._profiles.engine.version:
            return False
        return not self._history.has_history_for(ask.draft)

    def _report(self, number: int) -> None:
        self._reported_s = time.monotonic()
        found = self._history.progress or Progress(0, 0)
        for request in self._waiting:
            self._output.answer(Answer(request.scan, number, read=found.read, total=found.total))

    def _is_expired(self, request: ScanRequest) -> bool:
        return self._now_ms() > request.expires_ms

    def _begin(self, request: ScanRequest, number: int, clock_ms: int) -> _Job | None:
        self._remember(request.scan)
        try:
            self._job = _Job(
                request, self._profiles, self._history, self._samples, number=number, clock_ms=clock_ms
            )
        except UserError as error:
            self._job = None
            state = BEHIND if isinstance(error, (_Behind, MissingColumn)) else REFUSED
            self._output.answer(Answer(request.scan, number, state, reason=str(error)))
        self._reported_s = time.monotonic()
        return self._job

    def _advance(self, job: _Job, clock_ms: int) -> None:
        answer, before = job.answer, job.answer.profiles
        until_s = time.monotonic() + _SHARE_S
        try:
            job.visit(clock_ms)
            while answer.state == RUNNING and time.monotonic() < until_s:
                job.visit(clock_ms)
        except StateError:  # the store failed, and with it the partition
            raise
        except Exception as error:  # a fault of one scan: the partition continues without it
            answer.state, answer.reason = FAILED, f"{type(error).__name__}: {error}"
        self._visited += answer.profiles - before
        if answer.state != RUNNING:
            self._job = None
        if answer.state != RUNNING or time.monotonic() - self._reported_s > _PROGRESS_S:
            self._reported_s = time.monotonic()
            self._output.answer(answer)
