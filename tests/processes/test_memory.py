from __future__ import annotations

import subprocess
import sys

import pytest

from segops.processes.memory import keep_freed_memory

#: Prints how often the system handed out a page while blocks of 8 MiB were made and freed.
FAULTS = """
import resource, sys
from segops.processes.memory import keep_freed_memory
kept = sys.argv[1] == "keep" and keep_freed_memory()
bytes(bytearray(8 << 20))
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    bytes(bytearray(8 << 20))
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, kept)
"""


def faults(how: str) -> tuple[int, bool]:
    command = [sys.executable, "-c", FAULTS, how]
    number, kept = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return int(number), kept == "True"


def test_freed_blocks_are_used_again() -> None:
    number, kept = faults("keep")
    if kept:  # glibc
        assert number < 1_000 < faults("return")[0]
    else:
        assert faults("return")[0] > 1_000


def test_limits_of_the_operator_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1000000")
    assert keep_freed_memory() is False
