"""``make fuzz``: compiled rules against the reference evaluator, over many more cases than the tests.

Each round draws random rules and streams from its own seed, which it prints. Hypothesis prefers some choices
by far, so three rounds of four begin with one kind of node, function or operator, each in its turn. A
mismatch is shrunk to its smallest form and printed, and the search continues. At the end a table says how
many cases had each node, key and operator, with which verdicts. Exit status 1 if there was any mismatch, or
with ``--require N`` if the table has a number below N.
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

from .core.contradictory_rules import operands
from .core.strategies import AGGREGATES, aggregates, composite, leaf_kinds, rules, streams, traits
from .core.strategies_figures import indicator_rules
from .core.test_equivalence import assert_agreement, make_definition, segment_sets
from .fuzz_coverage import Coverage

ROUND = 100


def _tested(operator: str) -> st.SearchStrategy[dict[str, Any]]:
    tests = operands[operator].map(lambda operand: {operator: operand})
    return st.tuples(traits, tests).map(lambda pair: {"trait": pair[0], "is": pair[1]})


#: What a round may begin with: kinds of leaves, functions of aggregates, operators.
FOCUSES: list[st.SearchStrategy[dict[str, Any]]] = [
    *leaf_kinds(()),
    indicator_rules,
    *(aggregates((function,)) for function in AGGREGATES),
    *map(_tested, operands),
]
_shapes = st.sampled_from(["alone", "alone", "alone", "not", "all", "any"])


@composite
def focused_sets(draw: Any, number: int) -> SegmentSet:
    """Draw one or two segments, the first of them with a node of ``FOCUSES[number]``."""
    node, shape = draw(FOCUSES[number]), draw(_shapes)
    form = {"alone": node, "not": {"not": node}}.get(shape) or {shape: [node, draw(rules())]}
    forms = {"s0": form} | ({"s1": draw(rules(("s0",)))} if draw(st.booleans()) else {})
    return SegmentSet([make_definition(key, form) for key, form in forms.items()])


def drawn_in(number: int) -> st.SearchStrategy[SegmentSet]:
    """Return the segments of the round with this seed."""
    turn, place = divmod(number, 4)
    return segment_sets() if place == 0 else focused_sets((3 * turn + place - 1) % len(FOCUSES))


class Fuzz:
    """Rounds of cases: ``cases`` counts those drawn, ``mismatches`` holds the failures as text.

    ``coverage`` counts what the cases contain that agreed.
    """

    def __init__(self, compare: Any = assert_agreement) -> None:
        self.compare = compare
        self.cases = 0
        self.mismatches: list[str] = []
        self.coverage = Coverage()

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
        @given(drawn_in(number), streams(), st.booleans())
        def case(segments: SegmentSet, steps: list[tuple[str, Any]], watermark: bool) -> None:
            nonlocal failed
            self.cases += not failed  # attempts while shrinking are not cases
            note(str({d.key: d.written for d in segments.definitions}))
            try:
                self.compare(segments, steps, watermark)
            except Exception:
                failed = True
                raise
            if not failed:
                self.coverage.add(segments, steps, watermark)

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
    parser.add_argument("--require", type=int, default=0, help="least number in the table of what was drawn")
    options = parser.parse_args(arguments)
    first = random.randrange(10**9) if options.seed is None else options.seed
    print(f"seeds from {first}")
    fuzz = Fuzz()
    run(options.cases, options.seconds, first, fuzz)
    print(fuzz.coverage.table())
    lacking = fuzz.coverage.lacking(options.require)
    for each in lacking:
        print(f"BELOW {options.require}: {each}")
    return 1 if fuzz.mismatches or lacking else 0


if __name__ == "__main__":
    sys.exit(main())
