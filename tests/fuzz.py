"""``make fuzz``: compiled rules against the reference evaluator, over many more cases than the tests.

Each round draws random rules and streams from its own seed, which it prints. A mismatch is shrunk to its
smallest form and printed, and the search continues. Exit status 1 if there was any mismatch.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from typing import Any

from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis import strategies as st

from segops.core.segments import SegmentSet

from .core.strategies import streams
from .core.test_equivalence import assert_agreement, segment_sets

ROUND = 500


class Fuzz:
    """Rounds of cases: ``cases`` counts those drawn, ``mismatches`` holds the failures as text."""

    def __init__(self, compare: Any = assert_agreement) -> None:
        self.compare = compare
        self.cases = 0
        self.mismatches: list[str] = []

    def round(self, number: int, cases: int) -> None:
        """Draw and compare ``cases`` cases with the seed ``number``."""
        failed = False

        @seed(number)
        @settings(
            max_examples=cases,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(segment_sets(), streams(), st.booleans())
        def case(segments: SegmentSet, steps: list[tuple[str, Any]], watermark: bool) -> None:
            nonlocal failed
            self.cases += not failed  # attempts while shrinking are not cases
            note(str({d.key: d.written for d in segments.definitions}))
            try:
                self.compare(segments, steps, watermark)
            except Exception:
                failed = True
                raise

        try:
            case()
        except Exception as error:
            self.mismatches.append(f"seed {number}:\n{''.join(traceback.format_exception(error))}")


def run(cases: int, seconds: float, first_seed: int, fuzz: Fuzz) -> None:
    """Run rounds until ``cases`` are done or ``seconds`` have passed; print a progress line for each."""
    begun = time.monotonic()
    number = first_seed
    while fuzz.cases < cases and time.monotonic() - begun < seconds:
        known = len(fuzz.mismatches)
        fuzz.round(number, min(ROUND, cases - fuzz.cases))
        number += 1
        for mismatch in fuzz.mismatches[known:]:
            print(f"\nMISMATCH, {mismatch}", flush=True)
        passed = time.monotonic() - begun
        print(
            f"\r{fuzz.cases:,} cases, {len(fuzz.mismatches)} mismatches, {passed:,.0f} s", end="", flush=True
        )
    print()


def main(arguments: list[str] | None = None) -> int:
    """Parse the arguments, run, and return the exit status."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, help="of the first round; the next takes the next")
    options = parser.parse_args(arguments)
    first = random.randrange(10**9) if options.seed is None else options.seed
    print(f"seeds from {first}")
    fuzz = Fuzz()
    run(options.cases, options.seconds, first, fuzz)
    return 1 if fuzz.mismatches else 0


if __name__ == "__main__":
    sys.exit(main())
