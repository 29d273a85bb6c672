"""Parsing: from what people write to validated rules, policies, RFM parameters and alerts (``read_…``)."""

from segops.core.rules.counts import COUNT_OPERATORS
from segops.core.rules.parsing.alerts import MAX_ALERTS, PERCENTAGE, read_alerts
from segops.core.rules.parsing.areas import MAX_AREAS, MAX_CORNERS, read_areas
from segops.core.rules.parsing.context import MAX_NODES, Context
from segops.core.rules.parsing.dates import WEEKDAYS
from segops.core.rules.parsing.distances import DISTANCE_OPERATORS
from segops.core.rules.parsing.events import ANY_EVENT, path_of_element
from segops.core.rules.parsing.figures import AGGREGATES, COMPARISONS, FIGURES, TIER
from segops.core.rules.parsing.indicators import (
    INDICATOR_PATTERN,
    PUBLISHING,
    figure_form,
    read_indicators,
    read_published,
)
from segops.core.rules.parsing.inputs import figure_names, read_input_figure
from segops.core.rules.parsing.lookups import TABLE_PATTERN
from segops.core.rules.parsing.money import MONEY_KEYS
from segops.core.rules.parsing.nodes import HEADS, REFRESHED, read_rule, windows_of
from segops.core.rules.parsing.policy import read_policy
from segops.core.rules.parsing.reader import ZONED, Reader, Reads
from segops.core.rules.parsing.rfm import DIGITS, GRID_PATTERN, MAX_EDGES, RFM_MODEL, read_grids, read_rfm
from segops.core.rules.parsing.rhythm import ACTIVE, DURATION_OPERATORS, MAX_PERIODS, NUMBERS, VALUES, WHICH
from segops.core.rules.parsing.scores import SCORE_PATTERN, SIDES, read_scores
from segops.core.rules.parsing.sequences import MAX_STEPS
from segops.core.rules.parsing.windows import TIME_KEYS, WINDOW_KEYS

__all__ = [
    "ACTIVE",
    "AGGREGATES",
    "ANY_EVENT",
    "COMPARISONS",
    "COUNT_OPERATORS",
    "DIGITS",
    "DISTANCE_OPERATORS",
    "DURATION_OPERATORS",
    "FIGURES",
    "GRID_PATTERN",
    "HEADS",
    "INDICATOR_PATTERN",
    "MAX_ALERTS",
    "MAX_AREAS",
    "MAX_CORNERS",
    "MAX_EDGES",
    "MAX_NODES",
    "MAX_PERIODS",
    "MAX_STEPS",
    "MONEY_KEYS",
    "NUMBERS",
    "PERCENTAGE",
    "PUBLISHING",
    "REFRESHED",
    "RFM_MODEL",
    "SCORE_PATTERN",
    "SIDES",
    "TABLE_PATTERN",
    "TIER",
    "TIME_KEYS",
    "VALUES",
    "WEEKDAYS",
    "WHICH",
    "WINDOW_KEYS",
    "ZONED",
    "Context",
    "Reader",
    "Reads",
    "figure_form",
    "figure_names",
    "path_of_element",
    "read_alerts",
    "read_areas",
    "read_grids",
    "read_indicators",
    "read_input_figure",
    "read_policy",
    "read_published",
    "read_rfm",
    "read_rule",
    "read_scores",
    "windows_of",
]
