"""What the model in force is worth live: its predictions of each day, and what followed."""

from __future__ import annotations

from typing import Final

import msgspec

from segops.core.training.decisions import Decision
from segops.core.training.quality import Quality, quality

DAY_MS: Final = 86_400_000
#: So many predictions of a day are kept, the first ones, and so many are needed.
MAX_ROWS: Final = 20_000
MIN_ROWS: Final = 30


class Day(msgspec.Struct, array_like=True):
    """The predictions of one day (UTC, since 1970) whose outcomes are known, and these."""

    day: int
    foretold: list[float] = []
    observed: list[bool] = []


class Drift:
    """Collects predictions by the day on which they were made; decisions come by their instants."""

    def __init__(self, day: Day | None = None) -> None:
        self.day = day

    def note(self, decision: Decision) -> Quality | None:
        """Note a decision whose outcome became known; return what the day before was worth, if it is over.

        It is None without ``MIN_ROWS`` predictions on that day, too.
        """
        if decision.foretold is None:
            return None
        number, ended = decision.at_ms // DAY_MS, None
        if self.day is None or self.day.day != number:
            ended, self.day = self.day, Day(number)
        if len(self.day.foretold) < MAX_ROWS:
            self.day.foretold.append(decision.foretold)
            self.day.observed.append(decision.observed)
        if ended is None or len(ended.foretold) < MIN_ROWS:
            return None
        return quality(ended.foretold, ended.observed)
