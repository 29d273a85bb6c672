"""Run ``segops ...`` in this process, with the environment and the working directory of the test."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from typing import TextIO

import pytest

from segops.cli import main


@dataclass
class Result:
    status: int
    out: str
    err: str


@contextmanager
def signals_restored() -> Iterator[None]:
    """Restore the signal handlers that a command, which expects a process of its own, replaces."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def call(*arguments: object) -> int:
    """Call the ``segops`` entry point with ``arguments``; return its exit status."""
    with pytest.MonkeyPatch.context() as patch, signals_restored():
        patch.setattr(sys, "argv", ["segops", *map(str, arguments)])
        try:
            main()
        except SystemExit as exit_:
            assert exit_.code is None or isinstance(exit_.code, int)
            return exit_.code or 0
    return 0


def call_with(stdin: TextIO | None, stdout: TextIO | None, stderr: TextIO | None, *arguments: object) -> int:
    """Call the entry point with these standard streams; ``None`` is a closed one."""
    given = {"stdin": stdin, "stdout": stdout, "stderr": stderr}
    with pytest.MonkeyPatch.context() as patch:
        for name, stream in given.items():
            patch.setattr(sys, name, stream)
        status = call(*arguments)
        for name, stream in given.items():
            if stream is None:
                getattr(sys, name).close()  # the command has replaced the stream
    return status


def run(*arguments: object, text: str = "") -> Result:
    """Call the entry point with ``text`` as standard input; return its output. All streams are UTF-8."""
    read, out, err = (TextIOWrapper(BytesIO(data), encoding="utf-8") for data in (text.encode(), b"", b""))
    err.reconfigure(errors="backslashreplace", write_through=True)
    with read, out, err:
        status = call_with(read, out, err, *arguments)
        return Result(status, *(_written(stream) for stream in (out, err)))


def _written(stream: TextIOWrapper) -> str:
    buffer = stream.buffer
    assert isinstance(buffer, BytesIO)
    return buffer.getvalue().decode()


def interruptible() -> None:
    """Restore SIGINT as in a terminal; it is ignored when the tests run in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
