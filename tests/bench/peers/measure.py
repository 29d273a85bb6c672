"""One run of one contestant: start it on the input, wait for its output, check it, then measure it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from . import kafka
from .check import differences, summary
from .contestants import Contestant, Run
from .process import Program, Sample, cpu_at
from .reference import Change, Reference

_LOOK_S = 0.2
#: The output has ended when it is complete and stays so, or when no more arrives.
_SETTLED_S = 3.0
_STALLED_S = 90.0


class Failed(Exception):
    """Raised when a run has no figure; the message gives the reason."""


@dataclass(frozen=True)
class Figures:
    """The measurements of a passed run, after the warm-up."""

    events: int
    wall_s: float
    cpu_s: float
    changes: int
    peak_rss_bytes: int
    #: Resident memory at half time: the peak of a flat run is not much higher.
    half_rss_bytes: int

    @property
    def per_cpu_second(self) -> float:
        """Events per second of CPU time of the whole process tree."""
        return self.events / self.cpu_s

    @property
    def per_second(self) -> float:
        """Events per second of the wall clock."""
        return self.events / self.wall_s


async def run(contestant: Contestant, prepared: Run, reference: Reference) -> Figures:
    """Run a contestant on the prepared input and return its figures. Raises Failed."""
    wanted = reference.timed if contestant.timed else reference.at_events
    topic = contestant.output(prepared)
    program = Program(contestant.command(prepared), contestant.environment(prepared), prepared.folder)
    with program:
        await _finish(program, prepared.servers, topic, len(wanted))
    got, stamps = [], []
    for record in await kafka.read(prepared.servers, topic):
        got.append(contestant.change(record.value))
        stamps.append(record.timestamp)
    wrong = differences(wanted, got)
    if wrong:
        raise Failed(f"{contestant.title} has wrong output: {summary(wrong)}")
    output = list(zip(stamps, got, strict=True))
    return figures(reference, output, program.samples, warm_up=contestant.warm_up)


async def _finish(program: Program, servers: str, topic: str, wanted: int) -> None:
    """Sample the process until its output has ended."""
    seen, since, begun = 0, time.monotonic(), time.monotonic()
    async with kafka.consumer(servers) as reader:
        partitions = await kafka.partitions_of(reader, topic)
        while True:
            program.sample()
            found = await kafka.count(reader, partitions)
            if found != seen:
                seen, since = found, time.monotonic()
            still = time.monotonic() - since
            if seen >= wanted and still > _SETTLED_S:
                return
            if still > _STALLED_S or not program.running:
                tail = program.log.read_text(errors="replace")[-1_500:]
                raise Failed(f"{seen} of {wanted} changes after {time.monotonic() - begun:.0f} s\n{tail}")
            await asyncio.sleep(_LOOK_S)


def figures(
    reference: Reference, output: list[tuple[int, Change]], samples: Sequence[Sample], *, warm_up: float
) -> Figures:
    """Compute figures from the broker's timestamps of the output (ms) and the samples of the process.

    An event counts as processed when a change that it caused has arrived. The measurement lasts from the end
    of the warm-up to the last change.
    """
    total = sum(reference.events)
    begin_ms, done = _warm(reference, output, total * warm_up)
    end_ms = max(stamp for stamp, _ in output)
    begin_s, end_s = begin_ms / 1000, end_ms / 1000
    return Figures(
        events=total - done,
        wall_s=end_s - begin_s,
        cpu_s=cpu_at(samples, end_s) - cpu_at(samples, begin_s),
        changes=len(output),
        peak_rss_bytes=max(sample.rss_bytes for sample in samples),
        half_rss_bytes=next(s.rss_bytes for s in samples if s.at_s >= (begin_s + end_s) / 2),
    )


def _warm(reference: Reference, output: list[tuple[int, Change]], enough: float) -> tuple[int, int]:
    """Return when at least ``enough`` events had been processed, and their number at that time."""
    reached = [0] * len(reference.events)
    stamps = sorted(
        (stamp, position)
        for stamp, change in output
        if (position := reference.caused_by.get(change)) is not None
    )
    for number, (stamp, (partition, event)) in enumerate(stamps):
        reached[partition] = max(reached[partition], event + 1)
        more = stamps[number + 1][0] if number + 1 < len(stamps) else stamp + 1
        if sum(reached) >= enough and more > stamp:
            return stamp, sum(reached)
    raise Failed("too few events caused a change to time it")


def percentile(values: Sequence[float], part: float) -> float:
    """Return the smallest value that at least ``part`` of the values do not exceed."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]
