"""Notes on the nodes of an explanation."""

from __future__ import annotations

from segops.core.features import MAX_ENTRIES, Feature, reducer_of
from segops.core.features.sequence import MAX_LINKS
from segops.core.features.sessions import MAX_SESSIONS
from segops.core.features.since import SinceReducer
from segops.core.features.sliding import SlidingSum
from segops.core.profile import Profile
from segops.core.rules import model
from segops.core.rules.blocks import unfitted_scores, unmeasured_populations
from segops.core.rules.execution import feature_of
from segops.core.rules.phrases import as_of_text
from segops.core.views.scores import score_note
from segops.core.windows import Within

_BLANK = Profile("")


def note_of(node: model.Node, now_ms: int, profile: Profile = _BLANK) -> str | None:
    """Return a note on a node: a limit of exactness, as of when it holds, or what a score is computed from.

    >>> from segops.core.operators import Predicate
    >>> note_of(model.ScoreNode("churn_risk", Predicate((("gte", 1),))), 0)
    'the score churn_risk is declared, not fitted yet'
    >>> from segops.core.scoring.rfm import Quantiles, Rfm
    >>> waiting = Rfm(recency_ms=(), quantiles=Quantiles("rfm", (("recency", 5),)))
    >>> note_of(model.RfmNode(waiting, ("champions",)), 0)
    'the population rfm is not measured yet'
    """
    if isinstance(node, model.Frozen):
        notes = (as_of_text(node.refresh, now_ms), note_of(node.of, now_ms))
        return "; ".join(note for note in notes if note)
    unfitted = unfitted_scores(node)
    if unfitted and not model.children(node):
        return f"the score {' and '.join(unfitted)} is declared, not fitted yet"
    unmeasured = unmeasured_populations(node)
    if unmeasured and not model.children(node):
        return f"the population {' and '.join(unmeasured)} is not measured yet"
    try:
        found = score_note(node, profile, now_ms)
    except Exception:  # a node that fails says so by its verdict
        found = None
    if found is not None:
        return found
    feature = feature_of(node)
    return None if feature is None else _limit(feature)


def _limit(feature: Feature) -> str | None:
    if feature.kind == "sequence":
        return f"only the latest {MAX_LINKS} events that a step may match are kept"
    if feature.kind == "session":
        return f"only the latest {MAX_SESSIONS} sessions are kept"
    if feature.kind == "sessions":
        return f"only the latest {MAX_ENTRIES:,} sessions are kept"
    if feature.kind == "most_frequent":
        return f"only the latest {MAX_ENTRIES:,} events are counted"
    reducer = reducer_of(feature)
    if isinstance(reducer, SinceReducer) and reducer.limit == MAX_ENTRIES:
        return f"only the latest {MAX_ENTRIES:,} events are kept"
    folds = isinstance(reducer, SlidingSum) or (
        feature.kind == "earliest" and isinstance(feature.window, Within) and not feature.timed_where
    )
    return f"exact for the latest {MAX_ENTRIES:,} entries" if folds else None
