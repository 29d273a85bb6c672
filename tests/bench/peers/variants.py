"""segops against itself on the job: processes, guarantee, numbers of segments and profiles, recovery."""

from __future__ import annotations

import re
import shutil
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import replace

from segops.brokers import LocalBroker
from segops.core.errors import UserError

from ..workload import generated
from .contestants import CONTESTANTS, Contestant, Run, segops_command, segops_environment
from .job import Job, segments
from .ledger import Values, target
from .process import Program
from .rounds import Setup, measure_run, prepared

SEGOPS = CONTESTANTS["segops"]
MIB = 1 << 20
_RESTORED = re.compile(r"segops_recovery_records_total ([0-9.e+]+)")
_RESTORING = re.compile(r"segops_partitions_recovering ([0-9.e+]+)")
_READY_S = 300.0


def _variant(*options: str, **settings: str) -> Contestant:
    return replace(
        SEGOPS,
        command=lambda run: segops_command(*options),
        environment=lambda run: {**segops_environment(run), **settings},
    )


def _pair(setup: Setup, variants: Mapping[str, Contestant], measure: str) -> Iterator[tuple[str, float]]:
    """Return the better of two alternating runs of each variant."""
    found: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(2):
        for name, variant in variants.items():
            with prepared(setup, [variant]) as runs:
                found[name].append(_figure(measure_run(setup, variant, runs[variant.name]), measure))
    return ((name, max(values)) for name, values in found.items())


def _figure(result: Values, measure: str) -> float:
    if "reason" in result:
        raise UserError(result["reason"])
    return float(result[measure])


def processes(setup: Setup) -> Values:
    """Compare one process with two."""
    # The second process joins while the first is working: measure after the rebalance.
    variants = {n: replace(_variant("--processes", n), warm_up=0.3) for n in ("1", "2")}
    rates = dict(_pair(setup, variants, "per_cpu_second"))
    ratio = rates["2"] / rates["1"]
    return {
        "figures": {
            f"events per CPU second with {n} process(es)": f"{rate:,.0f}" for n, rate in rates.items()
        },
        "targets": [
            target("2 processes against 1, per CPU second", "at least 0.9", f"{ratio:.2f}", ratio >= 0.9)
        ],
    }


def guarantee(setup: Setup) -> Values:
    """Compare exactly_once with at_least_once."""
    once = _variant(SEGOPS_PROCESSING_GUARANTEE="exactly_once")
    rates = dict(_pair(setup, {"at_least_once": SEGOPS, "exactly_once": once}, "per_cpu_second"))
    ratio = rates["exactly_once"] / rates["at_least_once"]
    return {
        "figures": {f"events per CPU second, {name}": f"{rate:,.0f}" for name, rate in rates.items()},
        "targets": [
            target("exactly_once against at_least_once", "at least 0.8", f"{ratio:.2f}", ratio >= 0.8)
        ],
    }


def known(setup: Setup) -> Values:
    """Measure segops without anonymous ids, which the peers do not resolve either."""
    users = _variant(SEGOPS_IDENTIFIERS="user_id")
    rate = dict(_pair(setup, {"users": users}, "per_cpu_second"))["users"]
    return {
        "figures": {"events per CPU second with user ids as the only identifiers": f"{rate:,.0f}"},
        "per_cpu_second": rate,
    }


def many_segments(setup: Setup) -> Values:
    """Measure the whole path with more segments, of which an event concerns at most ten."""
    job = replace(setup.job, events=max(1_000, setup.job.events // 4))
    rates = {}
    for count in (10, 100, 1_000, 10_000):
        smaller = Setup.of(setup.broker, setup.folder, job, generated(count))
        rates[count] = next(_pair(smaller, {"": SEGOPS}, "per_cpu_second"))[1]
    cost = {count: rates[10] / rate for count, rate in rates.items()}
    return {
        "figures": {
            f"events per CPU second with {n:,} segments": f"{rate:,.0f}" for n, rate in rates.items()
        },
        "targets": [
            target(
                "cost with 1,000 segments against 10", "at most 1.2", f"{cost[1_000]:.2f}", cost[1_000] <= 1.2
            ),
            target("cost with 10,000", "at most 1.5", f"{cost[10_000]:.2f}", cost[10_000] <= 1.5),
        ],
    }


def many_profiles(setup: Setup) -> Values:
    """Measure speed, memory and stored bytes with more profiles, of 50, 5 and 1 events each."""
    events = 2 * setup.job.events
    figures, peak = {}, {}
    for profiles in (events // 200, events // 20, events):
        result = _even(setup.broker, setup, Job(max(profiles, events // 4), profiles, even=True))
        _figure(result, "per_cpu_second")
        peak[profiles] = result["peak_rss_bytes"]
        figures[f"{profiles:,} profiles"] = (
            f"{result['per_cpu_second']:,.0f} events per CPU second, "
            f"{result['half_rss_bytes'] / MIB:,.0f} MiB at half time, "
            f"{result['peak_rss_bytes'] / MIB:,.0f} MiB peak, "
            f"{result['disk_bytes'] / result['profiles']:,.0f} bytes per profile on disk, "
            f"{result['changelog_bytes'] / result['profiles']:,.0f} in the changelog"
        )
    most = peak[events] / MIB
    title = f"memory of a worker with {events:,} profiles"
    return {
        "figures": figures,
        "targets": [target(title, "under 400 MiB", f"{most:,.0f} MiB", most < 400)],
    }


def _even(broker: LocalBroker, setup: Setup, job: Job) -> Values:
    larger = Setup.of(broker, setup.folder, job, segments())
    with prepared(larger, [SEGOPS]) as runs:
        return measure_run(larger, SEGOPS, runs[SEGOPS.name])


def recovery(setup: Setup) -> Values:
    """Delete the files of a worker that has finished the job, and restart it."""
    with prepared(setup, [SEGOPS]) as runs:
        run = runs[SEGOPS.name]
        _figure(measure_run(setup, SEGOPS, run), "per_cpu_second")
        shutil.rmtree(run.folder / "data")
        with Program(SEGOPS.command(run), SEGOPS.environment(run), run.folder) as program:
            records, seconds = _recovered(program, run)
    rate = records / seconds
    return {
        "figures": {"changelog records restored": f"{records:,.0f} in {seconds:.1f} s"},
        "targets": [
            target("recovery, records per second", "at least 300,000", f"{rate:,.0f}", rate >= 300_000)
        ],
    }


def _recovered(program: Program, run: Run) -> tuple[float, float]:
    """Return the number of restored records and the seconds that it took.

    Measured from the last poll without restored records to the first without recovering partitions; the last
    records counted may not be written yet.
    """
    until, began = time.monotonic() + _READY_S, 0.0
    while time.monotonic() < until and program.running:
        text = _page(run, "/metrics")
        restored, restoring = _RESTORED.search(text), _RESTORING.search(text)
        if restored and float(restored[1]) and restoring and not float(restoring[1]):
            return float(restored[1]), time.monotonic() - began
        if not began or (restored and not float(restored[1])):
            began = time.monotonic()
        time.sleep(0.02)
    raise UserError(f"the worker did not recover; see {program.log}")


def _page(run: Run, path: str) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{run.web_port}{path}", timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""
