"""Running one case: the fault, the end, the verdict."""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from segops.brokers import LocalBroker, choose
from segops.config import load
from segops.core.errors import UserError

from .cluster import Case, NotHere, Plan
from .facts import Finding
from .matrix import Fault


def supported(mode: str) -> bool:
    """Whether workers know this mode."""
    try:
        load(worker={"processing_guarantee": mode})
    except UserError:
        return False
    return True


class Brokers:
    """Apache Kafka, one node for all cases; three for those that break brokers."""

    def __init__(self, folder: Path, single: LocalBroker | None = None) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._running: dict[int, LocalBroker] = {1: single} if single is not None else {}
        self.name = ""

    def __enter__(self) -> Brokers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def get(self, size: int) -> LocalBroker:
        """The cluster of this size, started when it is asked for first."""
        if size not in self._running:
            broker = choose(self._folder / f"kafka-{size}", prefer="jvm", brokers=size)
            self._running[size] = self._stack.enter_context(broker)
            self.name = broker.name.partition(" (")[0]
        return self._running[size]


@dataclass
class CaseResult:
    """What came of a case."""

    fault: str
    mode: str
    seed: int
    seconds: float = 0.0
    recovery_s: float = 0.0
    findings: list[Finding] = field(default_factory=list)
    error: str = ""
    not_here: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether anything is not as it must be."""
        return bool(self.findings or self.error)

    def line(self) -> str:
        """The outcome in a line, and what was found below it."""
        verdict = "FAILED" if self.failed else self.not_here or "ok"
        head = f"{self.fault:4} {self.mode} seed {self.seed}: {verdict} in {self.seconds:.1f} s"
        notes = f" [{', '.join(self.notes)}]" if self.notes else ""
        found = [f"     {text}" for text in [*map(str, self.findings[:20]), *self.error.splitlines()]]
        return "\n".join([f"{head}, recovery {self.recovery_s:.1f} s{notes}", *found])

    def count(self, kind: str) -> int:
        """How many findings are of this kind."""
        return Counter(finding.kind for finding in self.findings)[kind]


def run_case(
    fault: Fault,
    brokers: Brokers,
    folder: Path,
    *,
    mode: str,
    seed: int,
    act: Callable[[Case], None] | None = None,
    patience: float = 1.0,
) -> CaseResult:
    """Run ``fault`` (or ``act`` in its place) once and verify what is left.

    ``patience`` multiplies the budget of the recovery, for machines that do other work.
    """
    outcome = CaseResult(fault.id, mode, seed)
    home = folder / f"{fault.id}-{mode}-{seed}"
    home.mkdir(parents=True)
    broker = brokers.get(fault.brokers)
    plan = Plan(
        broker, home, seed, mode=mode, clock=fault.clock, shape=fault.shape, replication=fault.brokers
    )
    case = Case(plan)
    case.happened.budget_s = fault.budget_s * patience
    started = time.monotonic()
    try:
        case.open()
        (act or fault.run or (lambda _: None))(case)
        case.settle()
        outcome.findings = case.findings()
    except NotHere as reason:
        outcome.not_here = str(reason)
    except Exception:
        outcome.error = traceback.format_exc(limit=-3)
    finally:
        _close(case, outcome)
    outcome.seconds = time.monotonic() - started
    outcome.recovery_s = max(case.happened.recovery_s, default=0.0)
    outcome.notes = case.notes
    return outcome


def _close(case: Case, outcome: CaseResult) -> None:
    try:
        case.close()
    except Exception:  # a broker that did not come back: the next case starts with another
        outcome.error = outcome.error or traceback.format_exc(limit=-3)
