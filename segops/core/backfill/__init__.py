"""Backfill: from past events to the features that profiles do not hold yet.

``missing`` names these features and ``waiting`` the segments that need them; ``in_force_at_once``
is what partitions evaluate by meanwhile. A ``Collector`` extracts one
compact ``Row`` of each past event, ``fold`` computes states from the rows of one profile, and ``install``
puts them into the profile. Reading, storing and moving rows is the caller's part.
"""

from segops.core.backfill.folding import Folded, fold
from segops.core.backfill.installing import install
from segops.core.backfill.needs import in_force_at_once, missing, waiting
from segops.core.backfill.reasons import BACKFILL, give_reason
from segops.core.backfill.rows import Collector, Row

__all__ = [
    "BACKFILL",
    "Collector",
    "Folded",
    "Row",
    "fold",
    "give_reason",
    "in_force_at_once",
    "install",
    "missing",
    "waiting",
]
