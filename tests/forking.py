"""Start segops commands by forking a process that has imported their modules, as importing takes long.

The server (``python -m tests.forking``) has no threads, and has run nothing of segops. A forked command has
its own environment, log and signal handlers, and ends as any Python process does.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import IO, Any

#: What ``segops worker`` imports once it runs.
_MODULES = ("segops.cli.worker", "segops.worker", "tests.faults.hooks")
_POLL_S = 0.02


class ForkedProcess:
    """A forked command, with the methods of ``subprocess.Popen`` that the tests use."""

    def __init__(self, server: ForkServer, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._server = server

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal; None while the process runs."""
        if self.returncode is None:
            self.returncode = self._server.ask({"poll": self.pid})
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the status. Raises subprocess.TimeoutExpired."""
        until = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            if until is not None and time.monotonic() > until:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            time.sleep(_POLL_S)
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)


#: A command that was started either way.
Running = subprocess.Popen[bytes] | ForkedProcess


class ForkServer:
    """The client of a server, which is started on first use and ends with this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, arguments: list[str], environment: Mapping[str, str], log: Path) -> ForkedProcess:
        """Run ``segops`` with these arguments; the log gets what it prints."""
        log.touch()  # a test may read it before the command prints
        request = {"arguments": arguments, "environment": dict(environment), "log": str(log)}
        pid = self.ask(request)
        assert pid is not None
        return ForkedProcess(self, pid)

    def ask(self, request: Mapping[str, Any]) -> int | None:
        """Return the server's answer."""
        with self._lock:
            reader, writer = self._pipes()
            writer.write(json.dumps(request).encode() + b"\n")
            writer.flush()
            answer: int | None = json.loads(reader.readline())
            return answer

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        if self._process is None:
            command = [sys.executable, "-m", "tests.forking"]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None and self._process.stdin is not None
        return self._process.stdout, self._process.stdin


server = ForkServer()


def _serve() -> Mapping[str, Any] | None:
    """Answer requests until the client ends; return the request that this process was forked for, if any."""
    for line in sys.stdin.buffer:
        request = json.loads(line)
        answer = _status(request["poll"]) if "poll" in request else os.fork()
        if answer == 0 and "poll" not in request:
            return dict(request)
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()
    return None


def _status(pid: int) -> int | None:
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def _run(request: Mapping[str, Any]) -> None:
    """Become the command of a request."""
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number, file in ((0, os.open(os.devnull, os.O_RDONLY)), (1, log), (2, log)):
        os.dup2(file, number)
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["segops", *request["arguments"]]
    from tests.faults.hooks import main

    main()


if __name__ == "__main__":
    for module in _MODULES:
        import_module(module)
    gc.freeze()
    forked_for = _serve()
    if forked_for is not None:
        _run(forked_for)
