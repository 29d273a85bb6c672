"""Whether the kernel computes floats as this Python does, bit by bit.

Both call the C library, but compilers may fuse operations, and libraries differ. So the functions that scores
are computed from are compared at fixed numbers; if one bit differs, Python evaluates all scores.
"""

from __future__ import annotations

import importlib
import math
import operator
from collections.abc import Callable, Sequence
from functools import cache
from itertools import cycle, islice
from typing import Any, Final

#: The least normal float.
_LEAST: Final = 2.0**-1022
#: Whether ``sum`` adds floats with compensation, as Python does from 3.12 on.
COMPENSATED: Final = sum([1.0, 1e100, 1.0, -1e100]) == 2.0
#: Numbers of all sizes that scores meet, and some beyond which Python raises.
NUMBERS: Final[tuple[float, ...]] = (
    *(0.0, 1.0, -1.0, 2.0**-10, 3 * 2.0**-10, 5e-10, 709.5, 710.5, -745.0, 1e15, 1e100),
    *(
        (-1) ** (number % 5 == 4) * (0.5 + number * 0.6180339887498949 % 1.0) * 2.0 ** (number * 7 % 41 - 30)
        for number in range(240)
    ),
)


def probe(numbers: Sequence[float]) -> list[float | None]:
    """Return what Python makes of numbers, in the order of the kernel's ``probe``; None where it raises."""
    single = (math.log, math.exp, math.expm1, math.log1p, math.cos, lambda x: x**2, lambda x: round(x, 9))
    found = [_value(of, number) for of in single for number in numbers]
    found += map(_power, numbers, islice(cycle(numbers), 1, None))
    return found + [sum(numbers[begin:]) for begin in range(len(numbers))]


def _power(one: float, other: float) -> float | None:
    found = _value(operator.pow, one, other) if one > 0 else None
    return found if found is None or not found or found >= _LEAST else None


def _value(of: Callable[..., Any], *numbers: float) -> float | None:
    try:
        found: float = of(*numbers)
    except (ArithmeticError, ValueError):
        return None
    return found if math.isfinite(found) else None


def alike(native: Any, numbers: Sequence[float] = NUMBERS) -> bool:
    """Return whether the kernel's functions of floats agree with Python's at numbers."""
    return [*map(repr, probe(numbers))] == [*map(repr, native.probe(list(numbers), COMPENSATED))]


@cache
def agree() -> bool:
    """Return whether the kernel's functions agree with Python's; true without a kernel."""
    try:
        return alike(importlib.import_module("segops.kernel._native"))
    except (ImportError, AttributeError):  # not built, or for another version
        return True
