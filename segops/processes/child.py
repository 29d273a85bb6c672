"""``segops`` commands as child processes, with settings passed like a user's: by the environment."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from segops.core.errors import SegopsError

_STOP_S: Final = 45.0
_TAIL_BYTES: Final = 2_000
#: How a log record begins.
_RECORD: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ [A-Z]+ [\w.]+: ")


class Child:
    """A running ``segops ...`` process; leaving the ``with`` block stops it.

    It runs in a session of its own, so that a terminal's Ctrl-C reaches only this process, which stops it in
    order. Its standard error goes to the file ``log``, its standard output to ``out``, by default the log.
    ``folder`` is its working folder, by default that of this process. It inherits the descriptor ``lock``.
    """

    def __init__(
        self,
        *arguments: str,
        environment: Mapping[str, str],
        log: Path,
        out: Path | None = None,
        folder: Path | None = None,
        lock: int | None = None,
    ) -> None:
        self.name = f"segops {arguments[0]}"
        self._log = log
        command = [sys.executable, "-P", "-c", "from segops.cli import main; main()", *arguments]
        self._log_from = log.stat().st_size if log.exists() else 0
        with log.open("ab") as errors, (out or log).open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own command, no shell
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env=_inherited() | dict(environment),
                cwd=folder,
                start_new_session=True,
                pass_fds=() if lock is None else (lock,),
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status; None while the process runs."""
        return self._process.poll()

    def ended(self) -> bool:
        """Tell whether the process has exited."""
        return self._process.poll() is not None

    def wait(self) -> None:
        """Wait until the process has exited."""
        self._process.wait()

    def check(self) -> None:
        """Raise SegopsError with the end of the log if the process has failed."""
        if self._process.poll():
            raise SegopsError(
                f"{self.name} exited with status {self._process.returncode}:\n{self._log_tail()}"
            )

    def stop(self) -> None:
        """Stop the process gracefully, or kill it after 45 s. A second call does nothing."""
        if self.ended():
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()

    def last_words(self) -> str:
        """Return what an ended process said last, or what ended it.

        That is the message of an error, which is no log record, else the text of the last record.
        """
        if (self.status or 0) < 0:
            return f"killed by signal {-(self.status or 0)}"
        lines = self._log_tail().splitlines()
        words = list(takewhile(lambda line: not _RECORD.match(line), reversed(lines)))
        last = _RECORD.sub("", lines[-1]) if lines else f"exited with status {self.status}"
        return "\n".join(reversed(words)) or last

    def _log_tail(self) -> str:
        with self._log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_from, size - _TAIL_BYTES))
            return log.read().decode(errors="replace").strip()


def _inherited() -> dict[str, str]:
    return dict(os.environ)  # noqa: TID251 - passed on to a child process, not read
