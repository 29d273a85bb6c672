"""The figures of a comparison, kept in a file after each run so that a broken-off one can go on."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

Values = dict[str, Any]


def target(measure: str, wanted: str, found: str, met: bool) -> Values:
    """What was asked for, and what was found, in words."""
    return {"measure": measure, "target": wanted, "found": found, "met": met}


@dataclass
class Ledger:
    """``about``: what was compared, and where; ``runs`` by turn and system; ``rows``: the other measures."""

    path: Path
    about: Values
    runs: list[Values] = field(default_factory=list)
    rows: dict[str, Values] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, about: Values, *, resume: bool) -> Ledger:
        """A new one, or with ``resume`` what is there, if it is about the same."""
        if resume and path.is_file():
            kept = json.loads(path.read_text())
            if kept["about"] == about:
                return cls(path, about, kept["runs"], kept["rows"])
        return cls(path, about)

    def add(self, turn: int, system: str, values: Values) -> None:
        """Keep one run."""
        self.runs = [run for run in self.runs if (run["turn"], run["system"]) != (turn, system)]
        self.runs.append({"turn": turn, "system": system, **values})
        self._save()

    def put(self, row: str, values: Values) -> None:
        """Keep one of the other measures."""
        self.rows[row] = values
        self._save()

    def has(self, turn: int, system: str) -> bool:
        """Whether this run was done."""
        return any((run["turn"], run["system"]) == (turn, system) for run in self.runs)

    def of(self, system: str, measure: str) -> list[float]:
        """One measure of all runs of a system that passed."""
        return [run[measure] for run in self.runs if run["system"] == system and measure in run]

    def middle(self, system: str, measure: str) -> float | None:
        """Its median; None without a run that passed."""
        found = self.of(system, measure)
        return median(found) if found else None

    def reasons(self, system: str) -> Iterable[str]:
        """Why runs of a system have no figure."""
        return [run["reason"] for run in self.runs if run["system"] == system and run.get("reason")]

    def _save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(
            json.dumps({"about": self.about, "runs": self.runs, "rows": self.rows}, indent=1)
        )
