"""How a command ends: an exit status and a message for every exception, never a traceback."""

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
_USER_ERROR: Final = 2

Ending = tuple[int, str]

#: Error numbers that mean the user named a wrong path.
_USER_ERRNOS: Final = frozenset(
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
    """Run ``command``, flush its output and return its exit status."""
    prepare()
    status = _guarded(command)
    return _guarded(flush) or status


def _guarded(work: Callable[[], object]) -> int:
    try:
        work()
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else _FAILED
    except BaseException as error:
        status, message = ending(error)
        if _output_failed(error):
            _drop_output()
        with suppress(OSError, OutputFailed):  # without a usable stderr, the status has to do
            if message:
                say_text(message, err=True)
            if config.debugging():
                say_text("".join(traceback.format_exception(error)), err=True)
        return status
    return 0


def _output_failed(error: BaseException) -> bool:
    """Tell whether standard output cannot be written. click writes help itself and raises a plain OSError."""
    if isinstance(error, BrokenPipeError | OutputFailed):
        return True
    try:
        if isinstance(error, OSError):
            flush()
    except (OSError, OutputFailed):
        return True
    return False


def ending(error: BaseException) -> Ending:
    """Return the exit status and the message of an error: 2 for user errors, 1 for failures."""
    return next(describe(error) for kind, describe in _ENDINGS if isinstance(error, kind))


def _usage(error: click.ClickException) -> Ending:
    text = io.StringIO()
    error.show(text)
    return _USER_ERROR, text.getvalue().rstrip("\n")


def _os_error(error: OSError) -> Ending:
    if isinstance(error.filename, str | bytes | os.PathLike) and error.errno in _USER_ERRNOS:
        return _USER_ERROR, f"{os.fsdecode(error.filename)}: {error.strerror}"
    return _FAILED, f"segops failed: {error}"


def _bug(error: BaseException) -> Ending:
    return _FAILED, (
        f"segops failed: {type(error).__name__}: {error}; this is a bug in segops, please report it "
        "(SEGOPS_LOG_LEVEL=debug shows the traceback)"
    )


#: The first kind that an error is an instance of decides.
_ENDINGS: Final[tuple[tuple[type[BaseException], Callable[..., Ending]], ...]] = (
    (KeyboardInterrupt, lambda _: (INTERRUPTED, "")),
    (click.Abort, lambda _: (INTERRUPTED, "")),
    (click.exceptions.Exit, lambda error: (error.exit_code, "")),
    (click.ClickException, _usage),
    (BrokenPipeError, lambda _: (PIPE_CLOSED, "")),  # the convention when the reader of a pipe leaves
    (UserError, lambda error: (_USER_ERROR, str(error))),
    (SegopsError, lambda error: (_FAILED, f"segops failed: {error}")),
    (OSError, _os_error),
    (BaseException, _bug),
)


def _drop_output() -> None:
    """Discard buffered output; otherwise the interpreter complains about it at exit."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
