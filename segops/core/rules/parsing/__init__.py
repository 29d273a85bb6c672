"""Parsing: from rules as written to validated trees (``read_rule``, ``read_policy``, ``read_rfm``)."""

from segops.core.rules.counts import COUNT_OPERATORS
from segops.core.rules.parsing.context import MAX_NODES, Context
from segops.core.rules.parsing.nodes import AGGREGATES, HEADS, read_rule
from segops.core.rules.parsing.policy import read_policy
from segops.core.rules.parsing.reader import Reader
from segops.core.rules.parsing.rfm import DIGITS, MAX_EDGES, read_rfm
from segops.core.rules.parsing.scores import SIDES
from segops.core.rules.parsing.sequences import MAX_STEPS
from segops.core.rules.parsing.windows import WINDOW_KEYS

__all__ = [
    "AGGREGATES",
    "COUNT_OPERATORS",
    "DIGITS",
    "HEADS",
    "MAX_EDGES",
    "MAX_NODES",
    "MAX_STEPS",
    "SIDES",
    "WINDOW_KEYS",
    "Context",
    "Reader",
    "read_policy",
    "read_rfm",
    "read_rule",
]
