"""``make bench-peers``: the same job on segops and on what its user would pick instead, side by side.

Every output is checked against the reference before its time counts. Compare ratios of one run.
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
from collections.abc import Callable, Mapping, Sequence
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
from .turns import Ground, laid, outcome

PAGE = Path(__file__).parents[1]


def main() -> None:
    """Run, print, and keep the figures."""
    options = _options()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # new topics have no leaders for a moment
    gc.disable()  # a million events are held: looking at them again and again frees nothing
    taking_part = _present(options.peers.split(",") if options.peers else [])
    job = Job(options.events, options.profiles)
    options.cache.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="broker-", dir=options.cache) as folder,
        choose(Path(folder), prefer=options.broker) as broker,
    ):
        ground = Ground.of(broker, options.cache / "runs", job, segments())
        ledger = Ledger.open(options.cache / "results.json", _about(ground, options), resume=options.resume)
        _say(f"{ledger.about}")
        for number in range(options.turns):
            _turn(ground, ledger, number, taking_part)
            report.write(ledger, options.page)
        _other_rows(ground, ledger, options)
    report.write(ledger, options.page)
    _say(f"written: {options.page / 'RESULTS.md'}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-peers", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--profiles", type=int, default=100_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--peers", default=",".join(CONTESTANTS), help="names, separated by commas")
    parser.add_argument("--rows", default=",".join(ROWS), help="what else of segops, separated by commas")
    parser.add_argument("--resume", action="store_true", help="keep the runs of the same job that are there")
    parser.add_argument("--broker", default=os.environ.get("SEGOPS_TEST_BROKER", "auto"))
    parser.add_argument("--cache", type=Path, default=environments.CACHE)
    parser.add_argument("--page", type=Path, default=PAGE, help="the folder for RESULTS.md and the plots")
    return parser.parse_args()


def _present(names: Sequence[str]) -> list[Contestant]:
    """Those that can be had here; of the others it is said why not."""
    found = []
    for name in names:
        try:
            CONTESTANTS[name].provide()
            found.append(CONTESTANTS[name])
        except environments.Unavailable as error:
            _say(f"left out: {name}: {error}")
    return found


def _about(ground: Ground, options: argparse.Namespace) -> Values:
    return {
        "machine": machine(),
        "java": java_version(find_java() or "java"),
        "broker": ground.broker.name,
        "events": options.events,
        "profiles": ground.job.profiles,
        "changes": len(ground.reference.timed),
        "bytes": sum(len(record.value) for record in ground.records) / len(ground.records),
    }


def _turn(ground: Ground, ledger: Ledger, number: int, taking_part: Sequence[Contestant]) -> None:
    its_turn = [each for each in taking_part if number == 0 or not each.slow]
    missing = [each for each in its_turn if not ledger.has(number, each.name)]
    if not missing:
        return
    with laid(ground, missing) as places:
        ledger.add(number, "ceiling", _ceiling(ground, places[missing[0].name].input))
        for each in missing:
            begun = time.monotonic()
            result = outcome(ground, each, places[each.name])
            ledger.add(number, each.name, result)
            found = result.get("reason") or f"{result['per_cpu_second']:,.0f} events per CPU second"
            _say(f"turn {number + 1}, {each.title}: {found} ({time.monotonic() - begun:.0f} s)")


def _ceiling(ground: Ground, topic: str) -> Values:
    command = [sys.executable, "-m", f"{__package__}.ceiling", ground.broker.bootstrap_servers, topic]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=900).stdout.split()
    return {"per_cpu_second": float(said[0]), "per_second": float(said[1])}


#: The other measures of segops; those that need a rate get the most that one process has done.
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


def _other_rows(ground: Ground, ledger: Ledger, options: argparse.Namespace) -> None:
    for name in filter(None, options.rows.split(",")):
        if options.resume and name in ledger.rows:
            continue
        row: Callable[..., Any] = partial(ROWS[name], ground)
        begun, rate = time.monotonic(), ledger.middle("segops", "per_second")
        if name in _NEED_RATE and rate is None:
            _say(f"{name}: left out: it needs a run of segops first")
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
