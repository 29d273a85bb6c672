"""``make fuzz``: compiled rules against the reference evaluator, over many more cases than the tests.

A run is a sequence of batches of ``BATCH`` rounds, which several processes share. One round of a batch
draws its cases as the tests do; the others have goals: the rows and columns of the table with the fewest
cases so far. Such a case has a node of the row, and events near its thresholds and edges. What a run draws
depends on its first seed alone. A mismatch is shrunk to its smallest form and printed with the options that
run its round again, and the search continues. At the end a table says how many cases had each node, figure,
key and operator, with which verdicts, and flipped by time alone. Exit status 1 if there was any mismatch, or
with ``--require N`` if a row has fewer than N cases, or fewer than a tenth of N with one of the verdicts or
with a flip by time.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import cycle, islice
from typing import Any, NamedTuple

from hypothesis import given, note, seed
from hypothesis import strategies as st

from .core.strategies import composite, streams
from .core.test_equivalence import assert_agreement, segment_sets
from .fuzz_aims import Case, aimed_cases, evenly, sources
from .fuzz_coverage import GOALS, Coverage, Goal

#: The cases of a round, the rounds of a batch, and the goals of a round.
ROUND, BATCH, AIMS = 50, 8, 4
_NAMED = {str(goal): goal for goal in GOALS}


class Round(NamedTuple):
    """The options of a round: its seed, the number of its cases, and the goals of its cases, if any."""

    seed: int
    cases: int
    goals: tuple[Goal, ...] = ()

    def again(self) -> str:
        """Return the options of the command that runs this round alone."""
        goals = ",".join(map(str, self.goals))
        return f"--cases {self.cases} --seed {self.seed} --goals '{goals}'"


class RoundResult(NamedTuple):
    """What came of a round: the cases drawn, the failure as text, and the coverage of those that agreed."""

    cases: int
    mismatch: str | None
    coverage: Coverage


@composite
def _plain_cases(draw: Any) -> Case:
    return draw(segment_sets()), draw(streams()), draw(st.booleans())


def run_round(options: Round, compare: Any = assert_agreement) -> RoundResult:
    """Draw and compare the cases of a round."""
    cases, failed, coverage = 0, False, Coverage()

    @seed(options.seed)
    @evenly(options.cases)
    @given(aimed_cases(options.goals) if options.goals else _plain_cases())
    def agree(case: Case) -> None:
        nonlocal cases, failed
        cases += not failed  # attempts while shrinking are not cases
        note(str({d.key: d.written for d in case[0].definitions}))
        try:
            compare(*case)
        except Exception:
            failed = True
            raise
        if not failed:
            coverage.add(*case)

    try:
        agree()
    except Exception as error:
        text = "".join(traceback.format_exception(error))
        return RoundResult(cases, f"again with {options.again()}\n{text}", coverage)
    return RoundResult(cases, None, coverage)


def batch(first_seed: int, cases: int, wanted: Sequence[Goal]) -> list[Round]:
    """Return the rounds of a batch, with at most ``cases`` cases; all but the first have goals of ``wanted``.

    Each takes its share of the first ones, so that one that comes rarely does not keep the others back.
    """
    rounds = []
    for number in range(BATCH):
        shares = islice(cycle(wanted), max(0, number - 1), None, BATCH - 1)
        goals = tuple(dict.fromkeys(islice(shares, AIMS if number else 0)))
        rounds.append(Round(first_seed + number, min(ROUND, cases), goals))
        cases -= rounds[-1].cases
    return [each for each in rounds if each.cases]


class Fuzz:
    """A run: the number of cases drawn, the failures as text, and what the cases that agreed contain."""

    def __init__(self) -> None:
        self.cases = 0
        self.mismatches: list[str] = []
        self.coverage = Coverage()

    def add(self, result: RoundResult) -> None:
        """Add what came of a round; print a mismatch."""
        self.cases += result.cases
        self.coverage.merge(result.coverage)
        if result.mismatch is not None:
            self.mismatches.append(result.mismatch)
            print(f"\nMISMATCH, {result.mismatch}", flush=True)


def run(options: argparse.Namespace, first_seed: int, fuzz: Fuzz) -> None:
    """Run batches until the cases are done or the time has passed; print a progress line for each round."""
    begun = time.monotonic()
    sources()  # computed once, before the processes are forked
    with ProcessPoolExecutor(options.processes) as pool:
        while fuzz.cases < options.cases and time.monotonic() - begun < options.seconds:
            left = options.cases - fuzz.cases
            rounds = batch(first_seed, left, fuzz.coverage.rarest(options.require))
            if options.goals is not None:
                rounds = [Round(first_seed, min(ROUND, left), options.goals)]
            for result in pool.map(run_round, rounds):
                fuzz.add(result)
                _report(fuzz, time.monotonic() - begun)
            first_seed += len(rounds)
    print()


def _report(fuzz: Fuzz, seconds: float) -> None:
    progress = f"\r{fuzz.cases:,} cases, {len(fuzz.mismatches)} mismatches, {seconds:,.0f} s"
    print(progress, end="", flush=True)


def goals_named(text: str) -> tuple[Goal, ...]:
    return tuple(_NAMED[name.strip()] for name in text.split(",") if name.strip())


def main(arguments: list[str] | None = None) -> int:
    """Parse the arguments, run, and return the exit status."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=1_800)
    parser.add_argument("--seed", type=int, help="of the first round; the next takes the next")
    parser.add_argument(
        "--goals", type=goals_named, help="such as 'node did: true,operator month: cases'; else the rarest"
    )
    parser.add_argument(
        "--require", type=int, default=0, help="least cases of each row; a tenth with each verdict, by time"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args(arguments)
    first = random.randrange(10**9) if options.seed is None else options.seed
    print(f"seeds from {first}")
    fuzz = Fuzz()
    run(options, first, fuzz)
    print(fuzz.coverage.table())
    lacking = fuzz.coverage.lacking(options.require)
    for each in lacking:
        print(f"TOO FEW: {each}")
    return 1 if fuzz.mismatches or lacking else 0


if __name__ == "__main__":
    sys.exit(main())
