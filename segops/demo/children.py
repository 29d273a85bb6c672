"""``segops`` commands as child processes, with settings passed like a user's: by the environment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from segops.core.errors import SegopsError

_STOP_S: Final = 45.0
_TAIL_BYTES: Final = 2_000


class Child:
    """A running ``segops ...`` process; leaving the ``with`` block stops it.

    It runs in a session of its own, so that a terminal's Ctrl-C reaches only the demo, which stops it in
    order. Its standard error goes to the file ``log``, its standard output to ``out``, by default the log.
    ``folder`` is its working folder, by default that of this process.
    """

    def __init__(
        self,
        *arguments: str,
        environment: Mapping[str, str],
        log: Path,
        out: Path | None = None,
        folder: Path | None = None,
    ) -> None:
        self.name = f"segops {arguments[0]}"
        self._log = log
        command = [sys.executable, "-P", "-c", "from segops.cli import main; main()", *arguments]
        with log.open("ab") as errors, (out or log).open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own command, no shell
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env=_inherited() | dict(environment),
                cwd=folder,
                start_new_session=True,
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

    def ended(self) -> bool:
        """Tell whether the process has exited."""
        return self._process.poll() is not None

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

    def _log_tail(self) -> str:
        return self._log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace").strip()


def _inherited() -> dict[str, str]:
    return dict(os.environ)  # noqa: TID251 - passed on to a child process, not read
