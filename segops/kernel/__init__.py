"""The kernel: the hot path in Rust, beside this Python that says the same more slowly.

The extension ``_native`` is built from ``src/`` where cargo is found (``make kernel``). It is used where it
was built for this version, unless ``SEGOPS_KERNEL`` is off; results are the same, byte for byte.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any, Final, Literal

from segops.core.errors import UserError
from segops.core.profile import Profile
from segops.kernel.tables import VERSION

#: The values of ``SEGOPS_KERNEL``.
Mode = Literal["auto", "off", "require"]
_BUILD: Final = "build it with cargo 1.82 or newer (make kernel), or set SEGOPS_KERNEL=off"


@cache
def found() -> tuple[Any, str]:
    """Return the extension and ``""``, or None and why there is none that can be used."""
    try:
        native: Any = importlib.import_module("segops.kernel._native")
    except ImportError:
        return None, "not built"
    built_for, fields = (native.TABLES, native.STATE_FIELDS), len(Profile.__struct_fields__)
    if built_for != (VERSION, fields):
        return None, "built for another version"
    return native, ""


def chosen(mode: Mode) -> Any:
    """Return the extension to use, None for pure Python. Raises UserError if it is required and missing."""
    if mode == "off":
        return None
    native, reason = found()
    if native is None and mode == "require":
        raise UserError(f"SEGOPS_KERNEL=require, and the kernel is {reason}: {_BUILD}")
    return native


def running(mode: Mode) -> str:
    """Return which implementation runs, in words.

    >>> running("off").partition(";")[0]
    'pure Python (SEGOPS_KERNEL=off'
    """
    native, reason = found()
    if mode == "off":
        return f"pure Python (SEGOPS_KERNEL=off; the kernel is {reason or 'built'})"
    return "kernel" if native is not None else f"pure Python (the kernel is {reason})"
