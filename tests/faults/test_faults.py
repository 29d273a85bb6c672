"""The rows of the fault matrix that are run on every change, with one seed each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from segops.brokers import LocalBroker

from .matrix import BOTH, FAULTS, Fault
from .run import Brokers, run_case, supported

pytestmark = pytest.mark.broker

EVERY_TIME = ("F1", "F2", "F3", "F4", "F5", "F9", "F10", "F12", "F15", "F16", "F19", "F22")
ROWS = [fault for fault in FAULTS if fault.id in EVERY_TIME]


@pytest.fixture
def brokers(broker: LocalBroker, tmp_path: Path) -> Iterator[Brokers]:
    with Brokers(tmp_path, broker) as brokers:
        yield brokers


@pytest.mark.parametrize("mode", [mode for mode in BOTH if supported(mode)])
@pytest.mark.parametrize("fault", ROWS, ids=[fault.id for fault in ROWS])
def test_nothing_is_lost_and_nothing_counted_twice(
    brokers: Brokers, tmp_path: Path, fault: Fault, mode: str
) -> None:
    outcome = run_case(fault, brokers, tmp_path, mode=mode, seed=BOTH.index(mode) + 1)
    assert not outcome.failed, outcome.line()
