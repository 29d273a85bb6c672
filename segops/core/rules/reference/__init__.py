"""The slow evaluator: the meaning of each node over all events, read straight from the specification.

The compiled rules and their small state are tested against it; nothing in segops imports it. It computes
everything with code of its own, except for three things; a test lists what it may import:

- the tree of a rule (``rules.model``) with the parameters in it, such as RFM's edges, which are data: what a
  rule says, not what follows. The parser has tests of its own;
- the operators of a single test (``operators``) and with them how a text is read as a date. They are pure
  functions of one value and one instant, with no state to go wrong, and ``tests/core/test_operators.py``
  holds each to written-out examples;
- the calendar (``windows.period``), held to examples of days on which clocks change in
  ``tests/core/test_windows.py``.
"""

from segops.core.rules.reference.evaluator import EvaluatedMember, holds
from segops.core.rules.reference.history import History
from segops.core.rules.reference.instants import edges
from segops.core.rules.reference.orders import Figures, figures

__all__ = ["EvaluatedMember", "Figures", "History", "edges", "figures", "holds"]
