"""Compiled rules: the verdict of a rule on a profile, and when time alone changes it."""

from segops.core.rules.execution.compiler import Rule, at_refresh, compile_rule, feature_of, features_of
from segops.core.rules.execution.customer import changes_of
from segops.core.rules.execution.figure_models import numbers_reading
from segops.core.rules.execution.figures import figure_value, ratio_value, reading_of
from segops.core.rules.execution.leaf import FIRST, IDENTIFIERS, LATEST, LISTS, LOCATION
from segops.core.rules.execution.leaves import VIEWS, held_since
from segops.core.rules.execution.readings import Reading
from segops.core.rules.execution.rhythm import session_figure
from segops.core.rules.execution.verdicts import Changes, Holds, Verdicts, aging, combined

__all__ = [
    "FIRST",
    "IDENTIFIERS",
    "LATEST",
    "LISTS",
    "LOCATION",
    "VIEWS",
    "Changes",
    "Holds",
    "Reading",
    "Rule",
    "Verdicts",
    "aging",
    "at_refresh",
    "changes_of",
    "combined",
    "compile_rule",
    "feature_of",
    "features_of",
    "figure_value",
    "held_since",
    "numbers_reading",
    "ratio_value",
    "reading_of",
    "session_figure",
]
