"""Progressive validation: each decision is foretold by what was known at its instant, then learnt."""

from __future__ import annotations

from collections.abc import Sequence

from segops.core.training.decisions import Decision
from segops.core.training.logistic import OnlineLogistic


def progressive(decisions: Sequence[Decision], horizon_ms: int) -> list[float]:
    """Return what an online regression foretold of each decision (by their instants).

    It has learnt the decisions whose outcome was known by then, and no other: that of one taken a moment
    before is not.
    """
    if not decisions:
        return []
    model, learnt, found = OnlineLogistic(len(decisions[0].vector)), 0, []
    for each in decisions:
        while decisions[learnt].at_ms + horizon_ms < each.at_ms:
            model.learn(decisions[learnt].vector, decisions[learnt].observed)
            learnt += 1
        found.append(model.predicted(each.vector))
    return found
