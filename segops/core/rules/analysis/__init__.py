"""What is known about a rule before any event: what can never or always hold, and what is costly."""

from segops.core.rules.analysis.cost import TYPICAL_ENTRIES, Cost, Costs, costs
from segops.core.rules.analysis.linter import Lint, LintFinding, lint, lint_rfm

__all__ = ["TYPICAL_ENTRIES", "Cost", "Costs", "Lint", "LintFinding", "costs", "lint", "lint_rfm"]
