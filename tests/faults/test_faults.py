"""The rows of the fault matrix that run on every change, with one seed each."""

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
#: Parallel tests slow recovery down; `make faults` checks the budgets themselves.
_PATIENCE = 4.0

EVERY_TIME = ("F2", "F3", "F9", "F10", "F16", "F19")
IN_REST = ("F1", "F4", "F5", "F12", "F15", "F22", "F37", "F38", "F39", "F40", "F41", "F42")
ROWS = [fault for fault in FAULTS if fault.id in (*EVERY_TIME, *IN_REST)]


def cases() -> Iterator[Any]:
    """Yield every row in each mode; `make test` runs each row of EVERY_TIME in one mode, alternating."""
    for number, fault in enumerate(ROWS):
        for mode in filter(supported, BOTH):
            is_quick = fault.id in EVERY_TIME and mode == BOTH[number % len(BOTH)]
            case = pytest.param if is_quick else in_rest
            yield case(fault, mode, id=f"{fault.id}-{mode}")


@pytest.fixture
def brokers(broker: LocalBroker, tmp_path: Path) -> Iterator[Brokers]:
    with Brokers(tmp_path, broker) as brokers:
        yield brokers


@pytest.mark.parametrize(("fault", "mode"), [*cases()])
def test_no_data_is_lost_or_duplicated(brokers: Brokers, tmp_path: Path, fault: Fault, mode: str) -> None:
    seed = BOTH.index(mode) + 1
    result = run_case(fault, brokers, tmp_path, mode=mode, seed=seed, patience=_PATIENCE)
    assert not result.failed, result.line()
