"""``python -m tests.faults``: inject each fault and verify that no data is lost or duplicated."""

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
    parser.add_argument("--only", default="", help="fault ids, comma-separated: F1,F5")
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds per fault")
    parser.add_argument("--seed", type=int, default=1, help="first seed")
    parser.add_argument("--mode", choices=[*BOTH, "both"], default="both")
    parser.add_argument("--report", type=Path, help="update the table in this file")
    parser.add_argument("--keep", type=Path, help="keep each case's folder below this one")
    return parser.parse_args()


def main() -> int:
    """Run the selected faults, print each result and write the report. Return 1 if any case failed."""
    options = _options()
    only = set(filter(None, options.only.split(",")))
    rows = [fault for fault in FAULTS if (fault.id in only if only else fault.every_time)]
    modes = [mode for mode in BOTH if options.mode in (mode, "both")]
    results: list[CaseResult] = []
    folder = options.keep or Path(tempfile.mkdtemp(prefix="segops-faults-"))
    with Brokers(folder) as brokers:
        for fault in rows:
            for mode in (mode for mode in modes if fault.run and mode in fault.modes and supported(mode)):
                for seed in range(options.seed, options.seed + options.seeds):
                    result = run_case(fault, brokers, folder, mode=mode, seed=seed)
                    print(result.line(), flush=True)
                    results.append(result)
                    if options.report:
                        write_report(options.report, FAULTS, results, broker=brokers.name)
    return int(any(result.failed for result in results))


if __name__ == "__main__":
    sys.exit(main())
