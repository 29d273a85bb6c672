"""Waiting for a broker: reported once, bounded, and only where waiting can help."""

from __future__ import annotations

from typing import Any

import pytest

from segops import config
from segops.cli._kafka import run
from segops.kafka.reachability import Cause, ConnectionProblem, Unreachable

GONE = Unreachable("no broker answers", (ConnectionProblem("k:1", Cause.REFUSED),))
WRONG = Unreachable(
    "no such host", (ConnectionProblem("k:1", Cause.UNKNOWN_HOST), ConnectionProblem("l:1", Cause.LOGIN))
)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, _, _ in config.variables():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("segops.cli._kafka._PAUSE_S", 0.001)


class Work:
    """Fails a given number of times, then returns the number of calls."""

    def __init__(self, error: Unreachable, failures: int) -> None:
        self.done = 0
        self._error, self._failures = error, failures

    async def __call__(self, _settings: Any) -> int:
        self.done += 1
        if self.done <= self._failures:
            raise self._error
        return self.done


def test_waiting_retries_and_is_reported_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Work(GONE, 3), wait_s=60) == 4
    assert capsys.readouterr().err == "waiting for up to 60 s for a broker: no broker answers\n"


def test_waiting_ends_after_its_limit(capsys: pytest.CaptureFixture[str]) -> None:
    work = Work(GONE, 1_000_000)
    with pytest.raises(Unreachable, match="no broker answers"):
        run(work, wait_s=0.01)
    assert work.done > 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(("error", "wait_s"), [(GONE, 0.0), (WRONG, 60.0)])
def test_without_a_wait_or_a_passing_reason_it_fails_at_once(
    capsys: pytest.CaptureFixture[str], error: Unreachable, wait_s: float
) -> None:
    work = Work(error, 1_000_000)
    with pytest.raises(Unreachable):
        run(work, wait_s=wait_s)
    assert (work.done, capsys.readouterr().err) == (1, "")
