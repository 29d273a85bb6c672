"""Features: the state that a profile keeps of its events, so that rules can be read at any instant.

A feature is a selection of events, a window and an aggregate. It keeps only what rules need, yet reads
exactly as if every event had been kept. There are four families, by window, each of which can be frozen:

- ``running``: windows that drop nothing, or everything at once (all time, fixed, calendar);
- ``sliding``: ``within``, where the oldest event leaves first;
- ``scanning``: ``between``, and conditions on an event that change with time;
- ``since``: ``since_last``, where an anchor ends the count of all events before it;
- ``frozen``: any of them, read as of the latest refresh.
"""

from segops.core.features.extract import UNREADABLE, Extract, extractor
from segops.core.features.families import reducer_of
from segops.core.features.feature import ANY_NAME, CAPACITIES, MAX_ENTRIES, Feature, Reducer
from segops.core.features.states import Counted, State, Values

__all__ = [
    "ANY_NAME",
    "CAPACITIES",
    "MAX_ENTRIES",
    "UNREADABLE",
    "Counted",
    "Extract",
    "Feature",
    "Reducer",
    "State",
    "Values",
    "extractor",
    "reducer_of",
]
