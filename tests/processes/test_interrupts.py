"""Interrupting a process that runs others: by either signal, and never in the middle of a start."""

from __future__ import annotations

import signal

import pytest

from segops.processes.interrupts import interruptible, uninterrupted


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_either_signal_interrupts(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(number)
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_a_start_is_deferred(number: signal.Signals) -> None:
    started = []
    with pytest.raises(KeyboardInterrupt), interruptible(), uninterrupted():
        signal.raise_signal(number)
        started.append("known")
    assert started == ["known"]
