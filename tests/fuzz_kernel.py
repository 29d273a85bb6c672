"""``make fuzz-kernel``: whole partitions and replays by the kernel and by Python, over many more cases.

Half of the cases have rules of the kernel (``kernel/plain_cases.py``; one in five has scores
alone, ``kernel/score_cases.py``), half any rules, drawn as ``make fuzz`` draws them. The former have a log of
raw events too, which both resolve in whole batches (``kernel/resolving.py``). A mismatch is printed with the
seed that draws it again. Exit status 1 if there was any.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from random import Random, randrange
from typing import Any, NamedTuple

from segops.core.segments import SegmentSet

from .fuzz import Round, run_round
from .kernel import plain_cases, score_cases
from .kernel.replays import assert_replays_agree
from .kernel.resolving import assert_resolved_alike
from .kernel.sides import assert_sides_agree

#: The cases of a job.
CASES = 20
#: One of so many of its cases has scores alone.
SCORES = 5


class Job(NamedTuple):
    """Cases from a seed on: of rules that the kernel evaluates, or of any."""

    seed: int
    plain: bool


class JobResult(NamedTuple):
    """The cases drawn, the mismatches as text, and the records that Python did, by reason."""

    cases: int
    mismatches: list[str]
    left: Counter[str]


def plain_case(seed: int) -> dict[str, int]:
    """Draw and compare one case of rules that the kernel evaluates, and one log of raw events.

    Return what Python did of the former, by reason.
    """
    assert_resolved_alike(Random(seed))
    rng = Random(seed)
    segments, steps = plain_cases.segments(rng), plain_cases.steps(rng)
    later = plain_cases.segments(rng) if rng.random() < 0.2 else None
    left = assert_sides_agree(segments, steps, rng.random() < 0.5, later)
    assert_replays_agree(segments, steps, later)
    return left


def score_case(seed: int) -> dict[str, int]:
    """Draw and compare one case of scores alone; return what Python did, by reason."""
    rng = Random(seed)
    segments, steps = score_cases.segments(rng), score_cases.steps(rng)
    left = assert_sides_agree(segments, steps, rng.random() < 0.5)
    assert_replays_agree(segments, steps)
    return left


def any_case(segments: SegmentSet, steps: list[tuple[str, Any]], watermark: bool) -> dict[str, int]:
    """Compare a case of any rules; return what Python did, by reason."""
    left = assert_sides_agree(segments, steps, watermark)
    assert_replays_agree(segments, steps)
    return left


def run_job(job: Job) -> JobResult:
    """Draw and compare the cases of a job."""
    logging.disable(logging.CRITICAL)
    left: Counter[str] = Counter()
    if not job.plain:
        result = run_round(Round(job.seed, CASES), lambda *case: left.update(any_case(*case)))
        return JobResult(
            result.cases, [] if result.mismatch is None else [f"any {job.seed}\n{result.mismatch}"], left
        )
    mismatches = []
    for seed in range(job.seed, job.seed + CASES):
        try:
            left.update(score_case(seed) if seed % SCORES == 0 else plain_case(seed))
        except Exception as error:
            mismatches.append(f"plain {seed}\n{''.join(traceback.format_exception(error))}")
    return JobResult(CASES, mismatches, left)


def main(arguments: list[str] | None = None) -> int:
    """Parse the arguments, run, and return the exit status."""
    parser = argparse.ArgumentParser(prog="make fuzz-kernel", description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=7_200)
    parser.add_argument("--seed", type=int, help="of the first case")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args(arguments)
    first = randrange(10**9) if options.seed is None else options.seed
    print(f"seeds from {first}")
    cases, mismatches, left, begun = 0, 0, Counter[str](), time.monotonic()
    with ProcessPoolExecutor(options.processes) as pool:
        while cases < options.cases and time.monotonic() - begun < options.seconds:
            jobs = [
                Job(first + CASES * number, number % 2 == 0) for number in range(2 * (options.processes or 1))
            ]
            for result in pool.map(run_job, jobs):
                cases, mismatches = cases + result.cases, mismatches + len(result.mismatches)
                left.update(result.left)
                for text in result.mismatches:
                    print(f"\nMISMATCH, {text}", flush=True)
                print(
                    f"\r{cases:,} cases, {mismatches} mismatches, {time.monotonic() - begun:,.0f} s",
                    end="",
                    flush=True,
                )
            first += CASES * len(jobs)
    records, timers = left.pop("records", 0), left.pop("timers", 0)
    print(f"\n{records:,} records, {timers:,} timers; Python did: {dict(left.most_common())}")
    return 1 if mismatches else 0


if __name__ == "__main__":
    sys.exit(main())
