"""The resolve step of whole batches: what the kernel forwards, against Python's processor."""

from __future__ import annotations

from random import Random

import pytest

from segops.kernel import found
from tests.kernel.resolving import assert_resolved_alike

pytestmark = pytest.mark.skipif(found()[0] is None, reason="the kernel is not built")


@pytest.mark.parametrize("seed", range(25))
def test_the_kernel_forwards_what_python_does(seed: int) -> None:
    assert_resolved_alike(Random(seed))
