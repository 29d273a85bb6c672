"""``make soak``: random faults at random times for a given duration.

A soak runs in rounds of a few minutes. Each round is a separate application with three workers under load and
ends with a full verification. Memory and lag are sampled throughout and drawn.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from segops.streaming.failpoints import POINTS

from .brokers import rss_bytes
from .cluster import SESSION_TIMEOUT_S, Case
from .draw import Sample, write_svg
from .load import Shape
from .matrix import Fault
from .run import Brokers, CaseResult, run_case, supported
from .table import machine

WORKERS = (0, 1, 2)
EVENTS_PER_USER = 18


def _kill(case: Case, number: int) -> None:
    case.kill(number)


def _term(case: Case, number: int) -> None:
    case.terminate(number, None)


def _freeze(case: Case, number: int) -> None:
    case.signal(number, signal.SIGSTOP)
    time.sleep(case.rng.choice([0.3, 1.5]) * SESSION_TIMEOUT_S)
    case.signal(number, signal.SIGCONT)


def _lose_disk(case: Case, number: int) -> None:
    case.kill(number)
    shutil.rmtree(case.profiles(number), ignore_errors=True)


def _crash_soon(case: Case, number: int) -> None:
    case.terminate(number, None)
    point = case.rng.choice([*POINTS[:8], "after_timers"])
    case.start(number, crash_at=f"{point}:{case.rng.randrange(1, 20)}")


def _pause_broker(case: Case, number: int) -> None:
    node = case.plan.broker.nodes[0]
    node.pause()
    time.sleep(case.rng.random() * SESSION_TIMEOUT_S)
    node.resume()


ACTIONS: list[Callable[[Case, int], None]] = [
    _kill,
    _kill,
    _term,
    _freeze,
    _lose_disk,
    _crash_soon,
    _pause_broker,
]


class SoakWatch:
    """Samples memory and lag of a case's workers every two seconds."""

    def __init__(self, started: float) -> None:
        self.samples: list[Sample] = []
        self._started = started
        self._case: Case | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def watch(self, case: Case | None) -> None:
        """Sample this case from now on; None pauses sampling."""
        self._case = case

    def _run(self) -> None:
        while True:
            case = self._case
            if case is not None:
                rss = [
                    rss_bytes(worker.pid) for worker in list(case.workers.values()) if worker.poll() is None
                ]
                lag = max(0, case.load.sent - self._committed(case))
                self.samples.append(Sample(time.monotonic() - self._started, max(rss, default=0), lag))
            time.sleep(2.0)

    @staticmethod
    def _committed(case: Case) -> int:
        try:
            found = case.inspector.committed()
        except Exception:
            return 0
        return sum(
            offset for (topic, _), (offset, _) in found.items() if topic == case.settings.topics.events
        )


def _round(case: Case, watch: SoakWatch, until: float) -> None:
    case.start(*WORKERS)
    case.wait_ready(*WORKERS)
    watch.watch(case)
    case.load.start()
    while time.monotonic() < until:
        time.sleep(case.rng.random() * 8)
        number = case.rng.choice(WORKERS)
        if case.workers[number].poll() is None:
            action = case.rng.choice(ACTIONS)
            case.notes.append(action.__name__.strip("_"))
            action(case, number)
        case.revive(*WORKERS)
    time.sleep(2 * SESSION_TIMEOUT_S)  # frozen workers have noticed, failpoints have been reached
    for number in WORKERS:
        if case.workers[number].poll() is None:
            case.kill(number)  # disarms its failpoint
    case.revive_until_ready(*WORKERS)
    fault = time.monotonic()
    case.record_recovery(fault)
    watch.watch(None)


def soak(minutes: float, round_minutes: float, mode: str, seed: int, report: Path) -> list[CaseResult]:
    """Run rounds and return their results. Writes ``report`` and the chart beside it."""
    started = time.monotonic()
    watch, results = SoakWatch(started), list[CaseResult]()
    folder = Path(tempfile.mkdtemp(prefix="segops-soak-"))
    with Brokers(folder) as brokers:
        while time.monotonic() - started < 60 * minutes:
            left_s = min(60 * round_minutes, max(20.0, 60 * minutes - (time.monotonic() - started)))
            # Scale the users with the time, so that no profile has too many events for the slow evaluator.
            users = max(10, int(left_s * 20 / EVENTS_PER_USER))
            shape = Shape(events=users * EVENTS_PER_USER, users=users, per_second=20.0)
            until = time.monotonic() + left_s
            results.append(
                run_case(
                    Fault("F28", "a random mix", None, shape=shape, budget_s=90),
                    brokers,
                    folder,
                    mode=mode,
                    seed=seed + len(results),
                    act=lambda case, until=until: _round(case, watch, until),  # type: ignore[misc]
                )
            )
            print(results[-1].line(), flush=True)
            watch.watch(None)
        write(report, watch.samples, results, f"{machine()}, {brokers.name}")
    return results


def write(report: Path, samples: list[Sample], results: list[CaseResult], where: str) -> None:
    """Write the report and the chart."""
    report.with_suffix(".svg").write_text(write_svg(samples))
    failed = [str(result.seed) for result in results if result.failed]
    verdict = f"**failed** with seed {', '.join(failed)}" if failed else "nothing lost or duplicated"
    actions, seconds = sum(len(o.notes) for o in results), sum(o.seconds for o in results)
    lines = [
        "# Soak",
        "",
        f"{len(results)} rounds with {actions} random faults in {seconds / 60:.0f} min: {verdict}.",
        f"{where}.",
        f"Largest worker: {max((s.rss_bytes for s in samples), default=0) >> 20} MiB.",
        "",
        f"![memory and lag]({report.with_suffix('.svg').name})",
    ]
    report.write_text("\n".join(lines) + "\n")


def main() -> int:
    """Run a soak from the command line. Return 1 if any round failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--round-minutes", type=float, default=3)
    parser.add_argument("--mode", default="at_least_once")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--report", type=Path, default=Path(__file__).parent / "SOAK.md")
    options = parser.parse_args()
    if not supported(options.mode):
        parser.error(f"unsupported mode {options.mode}")
    results = soak(options.minutes, options.round_minutes, options.mode, options.seed, options.report)
    return int(any(result.failed for result in results))


if __name__ == "__main__":
    sys.exit(main())
