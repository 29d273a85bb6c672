"""``make bench``: the cost of an event in the core, and end to end through a broker, against the ceiling.

The machine is printed with the figures; compare ratios within a run, not figures of two runs.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Sequence
from pathlib import Path

from segops.brokers import LocalBroker, choose

from . import (
    backfill,
    beside,
    busy,
    collector,
    console,
    core,
    delivering,
    identity,
    kafka,
    klaviyo,
    klaviyo_lists,
    nodes,
    planned,
    recovery,
    scans,
    scores,
    serving,
    sizes,
)
from .workload import events

#: The parts of the benchmark; ``--core-only`` and so on run one of them.
PARTS = ("core", "nodes", "scans", "kafka", "collector", "delivery", "serve", "beside", "recovery", "console")


def main() -> None:
    """Run the benchmarks and print the figures."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--profiles", type=int, default=30_000)
    parser.add_argument("--broker", default=os.environ.get("SEGOPS_TEST_BROKER", "auto"))
    parser.add_argument("--records", type=int, default=1_000_000, help="changelog records of the recovery")
    parser.add_argument("--scanned", type=int, default=200_000, help="stored profiles that scans visit")
    for part in PARTS:
        parser.add_argument(f"--{part}-only", dest="only", action="store_const", const=part)
    options = parser.parse_args()
    chosen = PARTS if options.only is None else (options.only,)
    made = events(options.events, options.profiles)
    size = sum(len(value) for _, value in made) / len(made)
    load = ", ".join(f"{share:.1f}" for share in os.getloadavg())
    print(
        f"{machine()}; load {load}\n"
        f"{options.events} events of {size:.0f} bytes, {options.profiles} profiles, 10 segments\n"
    )
    if "core" in chosen:
        _core(made)
    if "nodes" in chosen:
        for node, cost in nodes.measure(made[: 2 * options.profiles]):
            print(f"node: {node}, µs per event by the kernel, by Python: {cost.text}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        if "scans" in chosen:
            _show(scans.measure(made[: 10 * options.profiles], Path(folder), profiles=options.scanned))
        if "console" in chosen:
            _show(console.measure_live())
        if {"kafka", "collector", "delivery", "serve", "beside", "recovery", "console"} & {*chosen}:
            with choose(Path(folder) / "broker", prefer=options.broker) as broker:
                print(f"\nbroker: {broker.name}")
                _on_broker(broker, made, Path(folder), chosen, options)


def _core(made: list[tuple[str, bytes]]) -> None:
    _show(core.measure(made))
    _show(core.many_segments(made))
    _show(busy.measure())
    _show(backfill.measure(made))
    _show(sizes.measure(made))
    _show(scores.measure(made))
    _show(klaviyo.measure())
    _show(klaviyo_lists.measure())


def _on_broker(
    broker: LocalBroker,
    made: list[tuple[str, bytes]],
    folder: Path,
    chosen: Sequence[str],
    options: argparse.Namespace,
) -> None:
    if "kafka" in chosen:
        measured = kafka.measure(broker, made, folder)
        _show(measured)
        half = measured["kafka: end to end, events per second of wall"] / 2
        _show(identity.measure(broker, folder, rate=half))
    if "collector" in chosen:
        _show(collector.measure(broker, made[:20_000]))
        _show(planned.measure(broker, made[:20_000], folder))
    if "delivery" in chosen:
        _show(delivering.measure(broker))
    if "serve" in chosen:
        _show(serving.measure(broker))
    if "console" in chosen:
        _show(console.measure(broker))
    if "beside" in chosen:
        _show(beside.measure(broker, folder, events=options.events, profiles=options.profiles))
    if "recovery" in chosen:
        kept = recovery.states(made[: 10 * options.profiles])
        _show(recovery.measure(broker, kept, folder, records=options.records))


def machine() -> str:
    """Return one line that describes this machine."""
    cpu = next(
        (line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")), "unknown"
    )
    return f"{cpu}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def _show(figures: dict[str, float]) -> None:
    for name, figure in figures.items():
        print(f"  {name:<62} {figure:>12,.2f}" if figure < 100 else f"  {name:<62} {figure:>12,.0f}")


if __name__ == "__main__":
    main()
