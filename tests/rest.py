"""What `make test` leaves to `make test-rest`: whole tests, parameters, and most of the drawn examples."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pytest
from hypothesis import settings

_Test = TypeVar("_Test", bound=Callable[..., None])

rest = pytest.mark.rest

#: One of this many values is enough for `make test`.
_SHARE = 5
_ALL_EXAMPLES = os.environ.get("SEGOPS_TEST_EXAMPLES") == "all"


def in_rest(*values: Any, **options: Any) -> Any:
    """Return a parameter set for ``pytest.mark.parametrize`` that only `make test-rest` runs."""
    return pytest.param(*values, marks=rest, **options)


def few_of(values: Sequence[Any]) -> list[Any]:
    """Return parameter sets of which `make test` runs the first fifth, and `make test-rest` the others."""
    few = -(-len(values) // _SHARE)
    return [*values[:few], *map(in_rest, values[few:])]


def examples(few: int, *, of: int) -> Callable[[_Test], _Test]:
    """Draw ``few`` examples in `make test`, and ``of`` in `make test-rest`, which runs such tests again."""

    def drawn(test: _Test) -> _Test:
        marked: _Test = pytest.mark.drawn(settings(max_examples=of if _ALL_EXAMPLES else few)(test))
        return marked

    return drawn
