"""``python -m tests.faults``: break the system in every way there is, and see whether anything was lost."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from .matrix import BOTH, FAULTS
from .run import Brokers, CaseResult, run_case, supported
from .table import write_report


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--only", default="", help="rows, by comma: F1,F5")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds each row is run with")
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--mode", choices=[*BOTH, "both"], default="both")
    parser.add_argument("--report", type=Path, help="write the table into this file")
    parser.add_argument("--keep", type=Path, help="keep the folders of the cases here")
    return parser.parse_args()


def main() -> int:
    """Run the rows, print each outcome, write the report; 1 when any row failed."""
    options = _options()
    only = set(filter(None, options.only.split(",")))
    rows = [fault for fault in FAULTS if (fault.id in only if only else fault.every_time)]
    modes = [mode for mode in BOTH if options.mode in (mode, "both")]
    outcomes: list[CaseResult] = []
    folder = options.keep or Path(tempfile.mkdtemp(prefix="segops-faults-"))
    with Brokers(folder) as brokers:
        for fault in rows:
            for mode in (mode for mode in modes if fault.run and mode in fault.modes and supported(mode)):
                for seed in range(options.seed, options.seed + options.seeds):
                    outcome = run_case(fault, brokers, folder, mode=mode, seed=seed)
                    print(outcome.line(), flush=True)
                    outcomes.append(outcome)
                    if options.report:
                        write_report(options.report, FAULTS, outcomes, broker=brokers.name)
    return int(any(outcome.failed for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
