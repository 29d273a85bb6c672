"""segops against itself on the job: processes, guarantee, number of segments and of profiles, recovery."""

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
from .contestants import CONTESTANTS, Contestant, Place, segops_command, segops_environment
from .job import Job, segments
from .ledger import Values, target
from .process import Program
from .turns import Ground, laid, outcome

SEGOPS = CONTESTANTS["segops"]
MIB = 1 << 20
_RESTORED = re.compile(r"segops_recovery_records_total ([0-9.e+]+)")
_RESTORING = re.compile(r"segops_partitions_recovering ([0-9.e+]+)")
_READY_S = 300.0


def _variant(*options: str, **settings: str) -> Contestant:
    return replace(
        SEGOPS,
        command=lambda place: segops_command(*options),
        environment=lambda place: {**segops_environment(place), **settings},
    )


def _pair(ground: Ground, variants: Mapping[str, Contestant], measure: str) -> Iterator[tuple[str, float]]:
    """The better of two runs of each, in turn."""
    found: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(2):
        for name, variant in variants.items():
            with laid(ground, [variant]) as places:
                found[name].append(_figure(outcome(ground, variant, places[variant.name]), measure))
    return ((name, max(values)) for name, values in found.items())


def _figure(result: Values, measure: str) -> float:
    if "reason" in result:
        raise UserError(result["reason"])
    return float(result[measure])


def processes(ground: Ground) -> Values:
    """One against two, by the wall clock."""
    # The second process joins while the first is at work: the count begins when they have shared.
    variants = {n: replace(_variant("--processes", n), warm_up=0.3) for n in ("1", "2")}
    rates = dict(_pair(ground, variants, "per_second"))
    ratio = rates["2"] / rates["1"]
    return {
        "figures": {f"events per second with {n} process(es)": f"{rate:,.0f}" for n, rate in rates.items()},
        "targets": [target("2 processes against 1, wall", "at least 1.8", f"{ratio:.2f}", ratio >= 1.8)],
    }


def guarantee(ground: Ground) -> Values:
    """exactly_once against at_least_once."""
    once = _variant(SEGOPS_PROCESSING_GUARANTEE="exactly_once")
    rates = dict(_pair(ground, {"at_least_once": SEGOPS, "exactly_once": once}, "per_cpu_second"))
    ratio = rates["exactly_once"] / rates["at_least_once"]
    return {
        "figures": {f"events per CPU second, {name}": f"{rate:,.0f}" for name, rate in rates.items()},
        "targets": [
            target("exactly_once against at_least_once", "at least 0.8", f"{ratio:.2f}", ratio >= 0.8)
        ],
    }


def known(ground: Ground) -> Values:
    """Without a look at anonymous ids: no more than the peers do."""
    users = _variant(SEGOPS_IDENTIFIERS="user_id")
    rate = dict(_pair(ground, {"users": users}, "per_cpu_second"))["users"]
    return {"figures": {"events per CPU second where user ids alone are identifiers": f"{rate:,.0f}"}}


def many_segments(ground: Ground) -> Values:
    """The whole path with more and more segments, of which an event concerns ten at most."""
    job = replace(ground.job, events=max(1_000, ground.job.events // 4))
    rates = {}
    for count in (10, 100, 1_000, 10_000):
        smaller = Ground.of(ground.broker, ground.folder, job, generated(count))
        rates[count] = next(_pair(smaller, {"": SEGOPS}, "per_cpu_second"))[1]
    cost = {count: rates[10] / rate for count, rate in rates.items()}
    return {
        "figures": {
            f"events per CPU second with {n:,} segments": f"{rate:,.0f}" for n, rate in rates.items()
        },
        "targets": [
            target(
                "cost with 1,000 segments against 10", "at most 2", f"{cost[1_000]:.2f}", cost[1_000] <= 2
            ),
            target("cost with 10,000", "at most 3", f"{cost[10_000]:.2f}", cost[10_000] <= 3),
        ],
    }


def many_profiles(ground: Ground) -> Values:
    """Events of more and more profiles, 50, 5 and 1 of each: speed, memory, stored bytes."""
    events = 2 * ground.job.events
    figures, peak = {}, {}
    for profiles in (events // 200, events // 20, events):
        result = _even(ground.broker, ground, Job(max(profiles, events // 4), profiles, even=True))
        _figure(result, "per_cpu_second")
        peak[profiles] = result["peak_rss_bytes"]
        figures[f"{profiles:,} profiles"] = (
            f"{result['per_cpu_second']:,.0f} events per CPU second, "
            f"{result['half_rss_bytes'] / MIB:,.0f} MiB at half, "
            f"{result['peak_rss_bytes'] / MIB:,.0f} MiB at most, "
            f"{result['disk_bytes'] / result['profiles']:,.0f} bytes per profile on disk, "
            f"{result['changelog_bytes'] / result['profiles']:,.0f} in the changelog"
        )
    grown = peak[events] / peak[events // 20]
    return {
        "figures": figures,
        "targets": [target("memory with 20 times the profiles", "flat", f"{grown:.2f} times", grown < 1.5)],
    }


def _even(broker: LocalBroker, ground: Ground, job: Job) -> Values:
    larger = Ground.of(broker, ground.folder, job, segments())
    with laid(larger, [SEGOPS]) as places:
        return outcome(larger, SEGOPS, places[SEGOPS.name])


def recovery(ground: Ground) -> Values:
    """Lose the files of a worker that has done the job, and start it again."""
    with laid(ground, [SEGOPS]) as places:
        place = places[SEGOPS.name]
        _figure(outcome(ground, SEGOPS, place), "per_cpu_second")
        shutil.rmtree(place.folder / "data")
        with Program(SEGOPS.command(place), SEGOPS.environment(place), place.folder) as program:
            records, seconds = _recovered(program, place)
    rate = records / seconds
    return {
        "figures": {"changelog records restored": f"{records:,.0f} in {seconds:.1f} s"},
        "targets": [
            target("recovery, records per second", "at least 300,000", f"{rate:,.0f}", rate >= 300_000)
        ],
    }


def _recovered(program: Program, place: Place) -> tuple[float, float]:
    """How many records came back, and how long that took: from the look before the first that saw any to
    the first that saw no partition being restored. What is counted last may have to be written still.
    """
    until, began = time.monotonic() + _READY_S, 0.0
    while time.monotonic() < until and program.running:
        text = _page(place, "/metrics")
        restored, restoring = _RESTORED.search(text), _RESTORING.search(text)
        if restored and float(restored[1]) and restoring and not float(restoring[1]):
            return float(restored[1]), time.monotonic() - began
        if not began or (restored and not float(restored[1])):
            began = time.monotonic()
        time.sleep(0.02)
    raise UserError(f"the worker did not recover; see {program.log}")


def _page(place: Place, path: str) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{place.web_port}{path}", timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""
