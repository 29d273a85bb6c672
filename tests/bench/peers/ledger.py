"""The figures of a comparison, saved after each run so that an interrupted comparison can be resumed."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Values = dict[str, Any]


def target(measure: str, wanted: str, found: str, met: bool) -> Values:
    """Return a target and the measured value, as text."""
    return {"measure": measure, "target": wanted, "found": found, "met": met}


@dataclass
class Ledger:
    """``about``: the job and the machine; ``runs`` by round and system; ``rows``: the other measures."""

    path: Path
    about: Values
    runs: list[Values] = field(default_factory=list)
    rows: dict[str, Values] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, about: Values, *, resume: bool) -> Ledger:
        """Open an empty ledger, or with ``resume`` the saved one if it is about the same job."""
        if resume and path.is_file():
            saved = json.loads(path.read_text())
            if saved["about"] == about:
                return cls(path, about, saved["runs"], saved["rows"])
        return cls(path, about)

    def add(self, turn: int, system: str, values: Values) -> None:
        """Save one run."""
        self.runs = [run for run in self.runs if (run["turn"], run["system"]) != (turn, system)]
        self.runs.append({"turn": turn, "system": system, **values})
        self._save()

    def put(self, row: str, values: Values) -> None:
        """Save one of the other measures."""
        self.rows[row] = values
        self._save()

    def has(self, turn: int, system: str) -> bool:
        """Return whether this run is complete."""
        return any((run["turn"], run["system"]) == (turn, system) for run in self.runs)

    def of(self, system: str, measure: str) -> list[float]:
        """Return one measure of all passed runs of a system."""
        return [run[measure] for run in self.runs if run["system"] == system and measure in run]

    def median(self, system: str, measure: str) -> float | None:
        """Return the median of a measure; None without a passed run."""
        found = self.of(system, measure)
        return statistics.median(found) if found else None

    def reasons(self, system: str) -> Iterable[str]:
        """Return the reasons why runs of a system have no figure."""
        return [run["reason"] for run in self.runs if run["system"] == system and run.get("reason")]

    def _save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(
            json.dumps({"about": self.about, "runs": self.runs, "rows": self.rows}, indent=1)
        )
