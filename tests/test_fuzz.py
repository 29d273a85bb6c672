"""The fuzzer counts its cases and reports a mismatch in its smallest form."""

from __future__ import annotations

from typing import Any

import pytest

from segops.core.segments import SegmentSet

from . import fuzz


def test_cases_are_counted_and_agreement_exits_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--cases", "20", "--seconds", "600", "--seed", "1"]) == 0
    assert "20 cases, 0 mismatches" in capsys.readouterr().out


def test_mismatch_is_shrunk_and_reported() -> None:
    def differ(segments: SegmentSet, steps: list[tuple[str, Any]], watermark: bool) -> None:
        assert len(segments.definitions) < 2, "two at once"

    found = fuzz.Fuzz(differ)
    found.round(1, 50)
    assert 1 <= found.cases <= 50
    (mismatch,) = found.mismatches
    assert mismatch.startswith("seed 1:\n")
    assert "two at once" in mismatch
    assert "'s1':" in mismatch


def test_no_round_begins_after_the_deadline() -> None:
    found = fuzz.Fuzz()
    fuzz.run(100, 0, 1, found)
    assert found.cases == 0
