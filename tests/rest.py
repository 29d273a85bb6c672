"""The mark ``rest`` of tests that `make test` leaves to `make test-rest`."""

from __future__ import annotations

from typing import Any

import pytest

rest = pytest.mark.rest


def in_rest(*values: Any, **options: Any) -> Any:
    """Return a parameter set for ``pytest.mark.parametrize`` that only `make test-rest` runs."""
    return pytest.param(*values, marks=rest, **options)
