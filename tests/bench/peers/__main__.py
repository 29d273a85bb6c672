"""``make bench-peers``: the same job on segops and on what its user would pick instead, side by side.

Every output is checked against the reference before its time counts. Compare ratios of one run.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from segops.brokers import choose

from ..__main__ import machine
from . import environments
from .contestants import CONTESTANTS, Contestant
from .job import Job, segments
from .reference import expected
from .turns import Ground, turn


def main() -> None:
    """Run, print, and keep the figures."""
    options = _options()
    taking_part = _present(options.peers.split(","))
    job = Job(options.events, options.profiles)
    print(f"{machine()}\n{job.events:,} events, {job.profiles:,} profiles, 10 segments", flush=True)
    records = list(job.records())
    reference = expected(records, segments(), partitions=job.partitions, final_ms=job.final_ms)
    print(f"{len(reference.timed):,} changes, {len(reference.at_events):,} judged at events", flush=True)
    with choose(options.folder / f"broker-{os.getpid()}", prefer=options.broker) as broker:
        print(f"broker: {broker.name}", flush=True)
        ground = Ground(broker, options.folder / "runs", job, records, reference)
        for number in range(options.turns):
            print(f"turn {number + 1}", flush=True)
            for outcome in turn(ground, taking_part):
                print(f"  {outcome}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-peers", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--profiles", type=int, default=100_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--peers", default=",".join(CONTESTANTS), help="names, separated by commas")
    parser.add_argument("--broker", default=os.environ.get("SEGOPS_TEST_BROKER", "auto"))
    parser.add_argument("--folder", type=Path, default=environments.CACHE)
    return parser.parse_args()


def _present(names: list[str]) -> list[Contestant]:
    """Those that can be had here; of the others it is said why not."""
    found = []
    for name in names:
        try:
            CONTESTANTS[name].provide()
            found.append(CONTESTANTS[name])
        except environments.Unavailable as error:
            print(f"left out: {name}: {error}", flush=True)
    return found


if __name__ == "__main__":
    main()
