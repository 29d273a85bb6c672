"""How a command ends: the exit status and the words for everything that can be raised, never a traceback."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import click

from segops import config
from segops.cli._say import OutputFailed, flush, prepare, say_text
from segops.core.errors import SegopsError, UserError

INTERRUPTED: Final = 128 + signal.SIGINT
PIPE_CLOSED: Final = 128 + signal.SIGPIPE
_FAILED: Final = 1
_MISTAKE: Final = 2

Ending = tuple[int, str]

#: What the system says of a path that the user should not have named.
_MISTAKEN: Final = frozenset(
    getattr(errno, name)
    for name in [
        "ENOENT",
        "EACCES",
        "EPERM",
        "EISDIR",
        "ENOTDIR",
        "EEXIST",
        "ENAMETOOLONG",
        "EROFS",
        "ELOOP",
        "ENXIO",
        "ENODEV",
    ]
)


def status_of(command: Callable[[], object]) -> int:
    """Run ``command``; its exit status, after everything printed has been handed over."""
    prepare()
    status = _guarded(command)
    return _guarded(flush) or status


def _guarded(work: Callable[[], object]) -> int:
    try:
        work()
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else _FAILED
    except BaseException as error:
        status, words = ending(error)
        if _output_failed(error):
            _drop_output()
        with suppress(OSError, OutputFailed):  # where nothing can be said, the status says it
            if words:
                say_text(words, err=True)
            if config.debugging():
                say_text("".join(traceback.format_exception(error)), err=True)
        return status
    return 0


def _output_failed(error: BaseException) -> bool:
    """Whether the standard output cannot be written; click writes help itself, and raises a plain OSError."""
    if isinstance(error, BrokenPipeError | OutputFailed):
        return True
    try:
        if isinstance(error, OSError):
            flush()
    except (OSError, OutputFailed):
        return True
    return False


def ending(error: BaseException) -> Ending:
    """The exit status and the words of an error: 2 for the user's mistakes, 1 for failures."""
    return next(tell(error) for kind, tell in _ENDINGS if isinstance(error, kind))


def _usage(error: click.ClickException) -> Ending:
    text = io.StringIO()
    error.show(text)
    return _MISTAKE, text.getvalue().rstrip("\n")


def _os_error(error: OSError) -> Ending:
    if isinstance(error.filename, str | bytes | os.PathLike) and error.errno in _MISTAKEN:
        return _MISTAKE, f"{os.fsdecode(error.filename)}: {error.strerror}"
    return _FAILED, f"segops failed: {error}"


def _bug(error: BaseException) -> Ending:
    return _FAILED, (
        f"segops failed: {type(error).__name__}: {error}; this is a fault of segops, please report it "
        "(SEGOPS_LOG_LEVEL=debug shows where it is)"
    )


#: The first kind that an error is of says how it ends.
_ENDINGS: Final[tuple[tuple[type[BaseException], Callable[..., Ending]], ...]] = (
    (KeyboardInterrupt, lambda _: (INTERRUPTED, "")),
    (click.Abort, lambda _: (INTERRUPTED, "")),
    (click.exceptions.Exit, lambda error: (error.exit_code, "")),
    (click.ClickException, _usage),
    (BrokenPipeError, lambda _: (PIPE_CLOSED, "")),  # as any program ends whose reader has left
    (UserError, lambda error: (_MISTAKE, str(error))),
    (SegopsError, lambda error: (_FAILED, f"segops failed: {error}")),
    (OSError, _os_error),
    (BaseException, _bug),
)


def _drop_output() -> None:
    """Let what is left in the buffer go nowhere, or the interpreter complains of it at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
