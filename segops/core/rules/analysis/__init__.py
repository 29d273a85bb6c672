"""Static analysis of rules: nodes that never or always hold, and the cost of segments."""

from segops.core.rules.analysis.cost import TYPICAL_ENTRIES, Cost, Costs, costs
from segops.core.rules.analysis.linter import Lint, LintFinding, lint, lint_rfm

__all__ = ["TYPICAL_ENTRIES", "Cost", "Costs", "Lint", "LintFinding", "costs", "lint", "lint_rfm"]
