"""Running one case: inject the fault, stop the workers, verify."""

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

from .cluster import Case, FaultUnavailable, Plan
from .facts import Finding
from .matrix import Fault


def supported(mode: str) -> bool:
    """Return whether workers support this processing guarantee."""
    try:
        load(worker={"processing_guarantee": mode})
    except UserError:
        return False
    return True


class Brokers:
    """Apache Kafka clusters by size, shared by all cases and started on first use."""

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
        """Return the cluster with ``size`` brokers, starting it on first use."""
        if size not in self._running:
            broker = choose(self._folder / f"kafka-{size}", prefer="jvm", brokers=size)
            self._running[size] = self._stack.enter_context(broker)
            self.name = broker.name.partition(" (")[0]
        return self._running[size]


@dataclass
class CaseResult:
    """The result of a case."""

    fault: str
    mode: str
    seed: int
    seconds: float = 0.0
    recovery_s: float = 0.0
    findings: list[Finding] = field(default_factory=list)
    error: str = ""
    unavailable: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether the case had findings or an error."""
        return bool(self.findings or self.error)

    def line(self) -> str:
        """Return the result in one line, followed by a line for each finding."""
        verdict = "FAILED" if self.failed else self.unavailable or "ok"
        head = f"{self.fault:4} {self.mode} seed {self.seed}: {verdict} in {self.seconds:.1f} s"
        notes = f" [{', '.join(self.notes)}]" if self.notes else ""
        found = [f"     {text}" for text in [*map(str, self.findings[:20]), *self.error.splitlines()]]
        return "\n".join([f"{head}, recovery {self.recovery_s:.1f} s{notes}", *found])

    def count(self, kind: str) -> int:
        """Return the number of findings of this kind."""
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
    """Run ``fault``, or ``act`` in its place, once and verify the evidence.

    ``patience`` multiplies the recovery budget, for machines under other load.
    """
    result = CaseResult(fault.id, mode, seed)
    case_folder = folder / f"{fault.id}-{mode}-{seed}"
    case_folder.mkdir(parents=True)
    broker = brokers.get(fault.brokers)
    plan = Plan(
        broker,
        case_folder,
        seed,
        mode=mode,
        clock=fault.clock,
        shape=fault.shape,
        replication=fault.brokers,
        segments=fault.segments,
    )
    case = Case(plan)
    case.circumstances.budget_s = fault.budget_s * patience
    started = time.monotonic()
    try:
        case.open()
        (act or fault.run or (lambda _: None))(case)
        case.settle()
        result.findings = case.findings()
    except FaultUnavailable as reason:
        result.unavailable = str(reason)
    except Exception:
        result.error = traceback.format_exc(limit=-3)
    finally:
        _close(case, result)
    result.seconds = time.monotonic() - started
    result.recovery_s = max(case.circumstances.recovery_s, default=0.0)
    result.notes = case.notes
    return result


def _close(case: Case, result: CaseResult) -> None:
    try:
        case.close()
    except Exception:  # a broker failed to restart; the next case starts another
        result.error = result.error or traceback.format_exc(limit=-3)
