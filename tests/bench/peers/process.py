"""A measured program: its whole process tree, sampled from /proc."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_STOP_S = 40.0


class Sample(NamedTuple):
    """CPU time used so far and resident memory at a wall-clock time (seconds since 1970)."""

    at_s: float
    cpu_s: float
    rss_bytes: int


@dataclass
class Program:
    """A command in its own session; leaving the ``with`` block ends it and all its descendants."""

    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    samples: list[Sample] = field(default_factory=list)

    def __enter__(self) -> Program:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                env={**os.environ, **self.environment},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        self.end(signal.SIGTERM)

    @property
    def log(self) -> Path:
        """The file with its output."""
        return self.folder / "program.log"

    @property
    def pid(self) -> int:
        """The id of the started process."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is still running."""
        return self._process.poll() is None

    def end(self, number: signal.Signals) -> None:
        """Signal the process, and kill it if it does not end in time."""
        family = tree(self.pid)
        if self.running:
            self._process.send_signal(number)
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pid in family[1:]:
            _kill(pid, self.pid)

    def sample(self) -> Sample:
        """Take a sample and store it."""
        stats = [found for pid in tree(self.pid) if (found := _stat(pid))]
        made = Sample(time.time(), sum(cpu for cpu, _ in stats), sum(rss for _, rss in stats))
        self.samples.append(made)
        return made


def cpu_at(samples: Sequence[Sample], at_s: float) -> float:
    """Interpolate the CPU time used up to a wall-clock time."""
    before = max((s for s in samples if s.at_s <= at_s), default=samples[0])
    after = min((s for s in samples if s.at_s >= at_s), default=samples[-1])
    if after.at_s <= before.at_s:
        return before.cpu_s
    share = (at_s - before.at_s) / (after.at_s - before.at_s)
    return before.cpu_s + share * (after.cpu_s - before.cpu_s)


def tree(root: int) -> list[int]:
    """Return a process and all its descendants, the process first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _fields(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def _fields(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _stat(pid: int) -> tuple[float, int] | None:
    fields = _fields(pid)
    if not fields:
        return None
    # The time of children that have ended is counted with the parent that waited for them.
    return sum(int(field) for field in fields[11:15]) / _TICKS, int(fields[21]) * _PAGE


def _kill(pid: int, session: int) -> None:
    fields = _fields(pid)
    if fields and int(fields[3]) == session:  # still the same process, not another one that reuses the id
        os.kill(pid, signal.SIGKILL)
