"""``make soak``: random faults at random times, for as long as is wanted.

It goes in rounds of a few minutes. Each is an application of its own with three workers under load; at
its end everything is verified. Memory and lag are sampled all the time and drawn.
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
    case.term(number, None)


def _freeze(case: Case, number: int) -> None:
    case.signal(number, signal.SIGSTOP)
    time.sleep(case.dice.choice([0.3, 1.5]) * SESSION_TIMEOUT_S)
    case.signal(number, signal.SIGCONT)


def _lose_disk(case: Case, number: int) -> None:
    case.kill(number)
    shutil.rmtree(case.profiles(number), ignore_errors=True)


def _crash_soon(case: Case, number: int) -> None:
    case.term(number, None)
    point = case.dice.choice([*POINTS[:8], "after_timers"])
    case.start(number, crash_at=f"{point}:{case.dice.randrange(1, 20)}")


def _pause_broker(case: Case, number: int) -> None:
    node = case.plan.broker.nodes[0]
    node.pause()
    time.sleep(case.dice.random() * SESSION_TIMEOUT_S)
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
    """Samples a case's workers every second."""

    def __init__(self, started: float) -> None:
        self.samples: list[Sample] = []
        self._started = started
        self._case: Case | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def look_at(self, case: Case | None) -> None:
        """Sample this one from now on."""
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
            found = case.eyes.committed()
        except Exception:
            return 0
        return sum(
            offset for (topic, _), (offset, _) in found.items() if topic == case.settings.topics.events
        )


def _round(case: Case, watch: SoakWatch, until: float) -> None:
    case.start(*WORKERS)
    case.ready(*WORKERS)
    watch.look_at(case)
    case.load.start()
    while time.monotonic() < until:
        time.sleep(case.dice.random() * 8)
        number = case.dice.choice(WORKERS)
        if case.workers[number].poll() is None:
            action = case.dice.choice(ACTIONS)
            case.notes.append(action.__name__.strip("_"))
            action(case, number)
        case.revive(*WORKERS)
    time.sleep(2 * SESSION_TIMEOUT_S)  # whoever was frozen knows by now, and crash points had their chance
    for number in WORKERS:
        if case.workers[number].poll() is None:
            case.kill(number)  # and its crash point with it
    case.ready_again(*WORKERS)
    fault = time.monotonic()
    case.recovered(fault)
    watch.look_at(None)


def soak(minutes: float, round_minutes: float, mode: str, seed: int, report: Path) -> list[CaseResult]:
    """Run rounds; their outcomes. Writes ``report`` and the drawing beside it."""
    started = time.monotonic()
    watch, outcomes = SoakWatch(started), list[CaseResult]()
    folder = Path(tempfile.mkdtemp(prefix="segops-soak-"))
    with Brokers(folder) as brokers:
        while time.monotonic() - started < 60 * minutes:
            left_s = min(60 * round_minutes, max(20.0, 60 * minutes - (time.monotonic() - started)))
            # As many people as there is time, so that no stream is too long for the slow evaluator.
            users = max(10, int(left_s * 20 / EVENTS_PER_USER))
            shape = Shape(events=users * EVENTS_PER_USER, users=users, per_second=20.0)
            until = time.monotonic() + left_s
            outcomes.append(
                run_case(
                    Fault("F28", "a random mix", None, shape=shape, budget_s=90),
                    brokers,
                    folder,
                    mode=mode,
                    seed=seed + len(outcomes),
                    act=lambda case, until=until: _round(case, watch, until),  # type: ignore[misc]
                )
            )
            print(outcomes[-1].line(), flush=True)
            watch.look_at(None)
        write(report, watch.samples, outcomes, f"{machine()}, {brokers.name}")
    return outcomes


def write(report: Path, samples: list[Sample], outcomes: list[CaseResult], where: str) -> None:
    """The report and the drawing."""
    report.with_suffix(".svg").write_text(write_svg(samples))
    failed = [str(outcome.seed) for outcome in outcomes if outcome.failed]
    verdict = f"**failed** with seed {', '.join(failed)}" if failed else "nothing lost, nothing twice"
    actions, seconds = sum(len(o.notes) for o in outcomes), sum(o.seconds for o in outcomes)
    lines = [
        "# Soak",
        "",
        f"{len(outcomes)} rounds with {actions} random faults in {seconds / 60:.0f} min: {verdict}.",
        f"{where}.",
        f"Largest worker: {max((s.rss_bytes for s in samples), default=0) >> 20} MiB.",
        "",
        f"![memory and lag]({report.with_suffix('.svg').name})",
    ]
    report.write_text("\n".join(lines) + "\n")


def main() -> int:
    """As from the command line; 1 when a round failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--round-minutes", type=float, default=3)
    parser.add_argument("--mode", default="at_least_once")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--report", type=Path, default=Path(__file__).parent / "SOAK.md")
    options = parser.parse_args()
    if not supported(options.mode):
        parser.error(f"workers do not know the mode {options.mode}")
    outcomes = soak(options.minutes, options.round_minutes, options.mode, options.seed, options.report)
    return int(any(outcome.failed for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
