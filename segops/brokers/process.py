"""A broker as an operating-system process: start, log and termination."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segops.brokers.base import BrokerFailed
from segops.brokers.network import LOOPBACK, serving_nodes, wait_for

#: Generous: three Java programs may share two busy cores.
START_S = 120.0
STOP_S = 15.0
_TAIL_BYTES = 1_500


@dataclass
class ProcessNode:
    """One broker process, in its own process group so that Ctrl-C in a terminal does not reach it first.

    ``node_id`` is the broker's id in metadata responses; ``None`` accepts any. The process inherits the
    descriptor ``lock``.
    """

    command: Sequence[str]
    port: int
    folder: Path
    log: Path
    node_id: int | None = None
    lock: int | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _log_from: int = 0

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process id, also after the process has ended; None before the first start."""
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        """Start the process without waiting for it to serve."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._log_from = log.tell()
            self._process = subprocess.Popen(  # noqa: S603 - our own command, no shell
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,
                pass_fds=() if self.lock is None else (self.lock,),
            )

    def wait_ready(self, peers: Iterable[int] = ()) -> None:
        """Return once the broker lists itself and ``peers`` as live. Raises BrokerFailed."""
        wanted = {*peers} | ({self.node_id} if self.node_id is not None else set())

        def settled() -> bool:
            return not self.alive or self._serves(wanted)

        if not wait_for(settled, within_s=START_S) or not self.alive:
            tail = self.log_tail()
            raise BrokerFailed(f"the broker on {self.address} did not start; end of its log:\n{tail}")

    def _serves(self, wanted: set[int]) -> bool:
        up = serving_nodes(self.port)
        return bool(up) and wanted <= up

    def start(self) -> None:
        if not self.alive:
            self.launch()
        self.wait_ready()

    def stop(self) -> None:
        stop_all([self])

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        if self._process:
            self._process.wait()

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def terminate(self) -> None:
        """Send SIGTERM, also to a paused process."""
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)

    def end_within(self, seconds: float) -> None:
        """Wait for the process to end; kill it after ``seconds``."""
        if self._process is None:
            return
        try:
            self._process.wait(timeout=max(seconds, 0.0))
        except subprocess.TimeoutExpired:
            self.kill()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self.alive:
            os.killpg(self._process.pid, number)

    def log_tail(self) -> str:
        """Return the end of the log since the last start."""
        with self.log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_from, size - _TAIL_BYTES))
            return log.read().decode(errors="replace").strip()


def stop_all(nodes: Sequence[ProcessNode]) -> None:
    """Terminate all nodes together; kill those still running after the deadline."""
    for node in nodes:
        node.terminate()
    wait_for(lambda: not any(node.alive for node in nodes), within_s=STOP_S)
    for node in nodes:
        node.end_within(0.0)


def start_all(nodes: Sequence[ProcessNode]) -> None:
    """Start all nodes together; on failure kill them all."""
    peers = [node.node_id for node in nodes if node.node_id is not None]
    try:
        for node in nodes:
            node.launch()
        for node in nodes:
            node.wait_ready(peers)
    except BaseException:
        for node in nodes:
            node.kill()
        raise
