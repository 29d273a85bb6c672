"""The report: a table of the injected faults and their results."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from .matrix import Fault
from .run import CaseResult

_HEAD = "| fault | mode | seeds | lost | duplicated | wrong | worst recovery s | result |"


def write_report(file: Path, rows: Sequence[Fault], results: Sequence[CaseResult], *, broker: str) -> None:
    """Write the table of these results and the notes of the rows.

    Rows without results keep their lines in the file.
    """
    previous = file.read_text().splitlines() if file.exists() else []
    lines = [
        "# Injected faults and their results",
        "",
        f"Written by `make faults` on {datetime.now(UTC):%Y-%m-%d}: {machine()}, {broker},",
        f"Python {platform.python_version()}. The checks are in [README.md](README.md).",
        "",
        _HEAD,
        "|---|---|---:|---:|---:|---:|---:|---|",
        *(line for fault in rows for line in _rows(fault, results, previous)),
        "",
        *_notes(rows),
    ]
    file.write_text("\n".join(lines) + "\n")


def _rows(fault: Fault, results: Sequence[CaseResult], previous: Sequence[str]) -> Iterator[str]:
    title = f"{fault.id} {fault.title}"
    for mode in fault.modes:
        found = [each for each in results if each.fault == fault.id and each.mode == mode]
        if not found:
            yield from _lines_of_others(previous, fault.id, mode, title)
            continue
        counts = " | ".join(
            str(sum(each.count(kind) for each in found)) for kind in ("lost", "duplicated", "wrong")
        )
        failed = [str(each.seed) for each in found if each.failed]
        result = f"**failed** with seed {', '.join(failed)}" if failed else "passed"
        reasons = {each.unavailable for each in found if each.unavailable}
        result = f"not supported here: {', '.join(reasons)}" if reasons and not failed else result
        worst_s = max(each.recovery_s for each in found)
        yield f"| {title} | {mode} | {len(found)} | {counts} | {worst_s:.1f} | {result} |"


def _lines_of_others(lines: Sequence[str], fault_id: str, mode: str, title: str) -> Iterator[str]:
    for line in lines:
        first, _, rest = line.partition(" | ")
        if first.startswith(f"| {fault_id} ") and rest.startswith(f"{mode} | "):
            yield f"| {title} | {rest}"


def _notes(rows: Sequence[Fault]) -> Iterator[str]:
    for fault in rows:
        if fault.note:
            yield f"- {fault.id} {fault.title}: {'' if fault.run else 'not part of this table. '}{fault.note}"


def machine() -> str:
    """Return the number of cores and the processor model."""
    models = [line.partition(":")[2].strip() for line in _cpu() if line.startswith("model name")]
    return f"{os.cpu_count()} cores ({models[0] if models else platform.machine()})"


def _cpu() -> list[str]:
    info = Path("/proc/cpuinfo")
    return info.read_text().splitlines() if info.exists() else []
