"""What is known about a rule before any event: what can never or always hold, and what is costly."""

from segops.core.rules.analysis.lint import Finding, Lint, lint, lint_rfm

__all__ = ["Finding", "Lint", "lint", "lint_rfm"]
