"""The reference evaluator: the meaning of each node over all events, straight from the specification.

The compiled rules and their compact state are tested against it; nothing in segops imports it. It is
independent code, except for four shared parts; a test restricts its imports to them:

- the tree of a rule (``rules.model``) with its parameters, such as RFM's edges: data, not computation. The
  parser has its own tests;
- the operators of a predicate (``operators``), including the parsing of dates: pure, stateless functions of
  one value and one instant. ``tests/core/test_operators.py`` checks each against explicit examples;
- the calendar (``windows.period``): ``tests/core/test_windows.py`` checks it against days on which clocks
  change;
- the formulas of BG/NBD and Gamma-Gamma (``scoring.buying``, ``scoring.spending``): pure functions of a few
  numbers, tested against the figures of the papers. ``SPEC.md#score-models`` defines a score by what they
  yield in floating point. Their inputs, calibrations, trees and crossings are computed here again.
"""

from segops.core.rules.reference.evaluator import EvaluatedMember, holds
from segops.core.rules.reference.history import History
from segops.core.rules.reference.instants import Edges
from segops.core.rules.reference.orders import Figures, figures

__all__ = ["Edges", "EvaluatedMember", "Figures", "History", "figures", "holds"]
