"""The rows of the fault matrix that are run on every change, with one seed each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from segops.brokers import LocalBroker
from tests.rest import in_rest

from .matrix import BOTH, FAULTS, Fault
from .run import Brokers, run_case, supported

pytestmark = pytest.mark.broker
#: Tests share the machine with each other: how fast a worker recovers is for `make faults` to say.
_PATIENCE = 4.0

EVERY_TIME = ("F1", "F2", "F3", "F4", "F5", "F9", "F10", "F12", "F15", "F16", "F19", "F22")
ROWS = [fault for fault in FAULTS if fault.id in EVERY_TIME]


def cases() -> Iterator[Any]:
    """Every row in each mode; `make test` runs it in one of them, in turn."""
    for number, fault in enumerate(ROWS):
        for mode in filter(supported, BOTH):
            case = pytest.param if mode == BOTH[number % len(BOTH)] else in_rest
            yield case(fault, mode, id=f"{fault.id}-{mode}")


@pytest.fixture
def brokers(broker: LocalBroker, tmp_path: Path) -> Iterator[Brokers]:
    with Brokers(tmp_path, broker) as brokers:
        yield brokers


@pytest.mark.parametrize(("fault", "mode"), [*cases()])
def test_nothing_is_lost_and_nothing_counted_twice(
    brokers: Brokers, tmp_path: Path, fault: Fault, mode: str
) -> None:
    seed = BOTH.index(mode) + 1
    outcome = run_case(fault, brokers, tmp_path, mode=mode, seed=seed, patience=_PATIENCE)
    assert not outcome.failed, outcome.line()
