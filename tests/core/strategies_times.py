"""Strategies for nodes on occurrences, rhythm and sequences of events at a time of day."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from .strategies import composite, occurrences, sequences
from .strategies_events import times_of_day
from .strategies_rhythm import rhythms


@composite
def timed_sequences(draw: Any) -> dict[str, Any]:
    """Draw a sequence, one step of which is at a time of day."""
    form = draw(sequences())
    step = draw(st.sampled_from(form["sequence"]))
    step |= draw(times_of_day)
    return form


@composite
def timed_nodes(draw: Any) -> dict[str, Any]:
    """Draw a node about events at a time of day."""
    form = draw(st.one_of(occurrences(), *rhythms()))
    selecting = form.get("lifecycle", form)
    selecting |= draw(times_of_day)
    return form


timed_leaves = st.one_of(timed_nodes(), timed_nodes(), timed_sequences())
