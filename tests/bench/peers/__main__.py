"""``make bench-peers``: the same job on segops and on its alternatives, side by side.

Every output is checked against the reference before its time counts. Compare ratios within a run.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from segops.brokers import choose
from segops.brokers.java import find_java, java_version
from segops.core.errors import UserError

from ..__main__ import machine
from . import environments, live, report, variants
from .contestants import CONTESTANTS, Contestant
from .job import Job, segments
from .ledger import Ledger, Values
from .rounds import Setup, measure_run, prepared

PAGE = Path(__file__).parents[1]


def main() -> None:
    """Run the comparison, print the figures and write the page."""
    options = _options()
    check_names("PEERS", options.peers, CONTESTANTS)
    check_names("ROWS", options.rows, ROWS)
    logging.getLogger("aiokafka").setLevel(
        logging.CRITICAL
    )  # it warns about new topics, which have no leader at first
    gc.disable()  # the heap holds a million events: collections would free nothing
    taking_part = _available(filter(None, options.peers.split(",")))
    job = Job(options.events, options.profiles)
    options.cache.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="broker-", dir=options.cache) as folder,
        choose(Path(folder), prefer=options.broker) as broker,
    ):
        setup = Setup.of(broker, options.cache / "runs", job, segments())
        ledger = Ledger.open(
            options.cache / f"results-{options.events}.json", _about(setup, options), resume=options.resume
        )
        _say(f"{ledger.about}")
        for number in range(options.turns):
            _run_round(setup, ledger, number, taking_part)
            report.write(ledger, options.page)
        _other_rows(setup, ledger, options)
    report.write(ledger, options.page)
    _say(f"written: {options.page / report.page_of(options.events)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-peers", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--profiles", type=int, default=100_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--peers", default=",".join(CONTESTANTS), help="names, separated by commas")
    parser.add_argument(
        "--rows", default=",".join(ROWS), help="further measures of segops, separated by commas"
    )
    parser.add_argument("--resume", action="store_true", help="keep the existing runs of the same job")
    parser.add_argument("--broker", default=os.environ.get("SEGOPS_TEST_BROKER", "auto"))
    parser.add_argument("--cache", type=Path, default=environments.CACHE)
    parser.add_argument("--page", type=Path, default=PAGE, help="the folder for RESULTS.md and the plots")
    return parser.parse_args()


def check_names(option: str, names: str, known: Iterable[str]) -> None:
    """Exit with a message in words if one of the names, separated by commas, is unknown."""
    unknown = [name for name in names.split(",") if name and name not in known]
    if unknown:
        sys.exit(f"{option}: unknown {', '.join(map(repr, unknown))}, expected some of {', '.join(known)}")


def _available(names: Iterable[str]) -> list[Contestant]:
    """Return the available contestants; print why the others are unavailable."""
    found = []
    for name in names:
        try:
            CONTESTANTS[name].provide()
            found.append(CONTESTANTS[name])
        except environments.Unavailable as error:
            _say(f"skipped: {name}: {error}")
    return found


def _about(setup: Setup, options: argparse.Namespace) -> Values:
    return {
        "machine": machine(),
        "java": java_version(find_java() or "java"),
        "broker": setup.broker.name,
        "events": options.events,
        "profiles": setup.job.profiles,
        "changes": len(setup.reference.timed),
        "bytes": sum(len(record.value) for record in setup.records) / len(setup.records),
    }


def _run_round(setup: Setup, ledger: Ledger, number: int, taking_part: Sequence[Contestant]) -> None:
    taking_part_now = [each for each in taking_part if number == 0 or not each.slow]
    missing = [each for each in taking_part_now if not ledger.has(number, each.name)]
    if not missing:
        return
    with prepared(setup, missing) as places:
        ledger.add(number, "ceiling", _ceiling(setup, places[missing[0].name].input))
        for each in missing:
            begun = time.monotonic()
            result = measure_run(setup, each, places[each.name])
            ledger.add(number, each.name, result)
            found = result.get("reason") or f"{result['per_cpu_second']:,.0f} events per CPU second"
            _say(f"round {number + 1}, {each.title}: {found} ({time.monotonic() - begun:.0f} s)")


def _ceiling(setup: Setup, topic: str) -> Values:
    command = [sys.executable, "-m", f"{__package__}.ceiling", setup.broker.bootstrap_servers, topic]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=900).stdout.split()
    return {"per_cpu_second": float(output[0]), "per_second": float(output[1])}


#: The other measures of segops; those that need a rate receive the throughput of one process.
ROWS: Mapping[str, Callable[..., Values]] = {
    "latency": live.latency,
    "timers": live.timers,
    "known": variants.known,
    "processes": variants.processes,
    "guarantee": variants.guarantee,
    "segments": variants.many_segments,
    "recovery": variants.recovery,
    "profiles": variants.many_profiles,
}
_NEED_RATE = ("latency", "timers")


def _other_rows(setup: Setup, ledger: Ledger, options: argparse.Namespace) -> None:
    for name in filter(None, options.rows.split(",")):
        if options.resume and name in ledger.rows:
            continue
        row: Callable[..., Any] = partial(ROWS[name], setup)
        begun, rate = time.monotonic(), ledger.median("segops", "per_second")
        if name in _NEED_RATE and rate is None:
            _say(f"{name}: skipped: requires a run of segops first")
            continue
        try:
            ledger.put(name, row(rate) if name in _NEED_RATE else row())
        except UserError as error:
            ledger.put(name, {"figures": {name: f"failed: {str(error).splitlines()[0]}"}})
        report.write(ledger, options.page)
        _say(f"{name}: {ledger.rows[name]['figures']} ({time.monotonic() - begun:.0f} s)")


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
