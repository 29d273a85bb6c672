"""The report: a table of what was broken and what came of it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from .matrix import Fault
from .run import CaseResult

_HEAD = "| fault | mode | seeds | lost | duplicated | wrong | worst recovery s | result |"


def write_report(file: Path, rows: Sequence[Fault], outcomes: Sequence[CaseResult], *, broker: str) -> None:
    """Write the table of these outcomes, and what cannot run here with its reason.

    Rows that were not run this time stay as the file has them.
    """
    former = file.read_text().splitlines() if file.exists() else []
    lines = [
        "# What breaks, and what is lost",
        "",
        f"Written by `make faults` on {datetime.now(UTC):%Y-%m-%d}: {machine()}, {broker},",
        f"Python {platform.python_version()}. The checks are in [README.md](README.md).",
        "",
        _HEAD,
        "|---|---|---:|---:|---:|---:|---:|---|",
        *(line for fault in rows for line in _rows(fault, outcomes, former)),
        "",
        *_reasons(rows),
    ]
    file.write_text("\n".join(lines) + "\n")


def _rows(fault: Fault, outcomes: Sequence[CaseResult], former: Sequence[str]) -> Iterator[str]:
    title = f"{fault.id} {fault.title}"
    for mode in fault.modes:
        found = [each for each in outcomes if each.fault == fault.id and each.mode == mode]
        if not found:
            yield from (line for line in former if line.startswith(f"| {title} | {mode} |"))
            continue
        counts = " | ".join(
            str(sum(each.count(kind) for each in found)) for kind in ("lost", "duplicated", "wrong")
        )
        failed = [str(each.seed) for each in found if each.failed]
        result = f"**failed** with seed {', '.join(failed)}" if failed else "passed"
        reasons = {each.not_here for each in found if each.not_here}
        result = f"not run here: {', '.join(reasons)}" if reasons and not failed else result
        worst_s = max(each.recovery_s for each in found)
        yield f"| {title} | {mode} | {len(found)} | {counts} | {worst_s:.1f} | {result} |"


def _reasons(rows: Sequence[Fault]) -> Iterator[str]:
    for fault in rows:
        if fault.why:
            yield f"- {fault.id} {fault.title}: {'' if fault.run else 'not run. '}{fault.why}"


def machine() -> str:
    """The machine in words."""
    models = [line.partition(":")[2].strip() for line in _cpu() if line.startswith("model name")]
    return f"{os.cpu_count()} cores ({models[0] if models else platform.machine()})"


def _cpu() -> list[str]:
    info = Path("/proc/cpuinfo")
    return info.read_text().splitlines() if info.exists() else []
