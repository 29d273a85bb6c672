"""What the readers of one rule share."""

from __future__ import annotations

from segops.core.errors import DefinitionError, Issue
from segops.core.scoring.rfm import Rfm

#: Nodes of a rule: evaluating one looks at each of its edges with each of its leaves.
MAX_NODES = 1_000

_DEFAULT_RFM = Rfm()


class Context:
    """What reading a rule needs to know beside the form, and the warnings it leaves.

    ``rfm``: the grid whose tiers the rule may name; None if its block was refused: then any name is accepted.
    """

    def __init__(self, source: str = "-", rfm: Rfm | None = _DEFAULT_RFM, max_nodes: int = MAX_NODES) -> None:
        self.source = source
        self.rfm = rfm
        self.max_nodes = max_nodes
        self.negations = 0  #: how many ``not`` the node being read stands under
        self.warnings: list[Issue] = []
        self._rule, self._nodes = "", 0

    def begin(self, path: str) -> None:
        """Begin to count the nodes of the rule at ``path``."""
        self._rule, self._nodes = path, 0

    def count_node(self) -> None:
        """Count one more node. Raises DefinitionError at the rule if it has too many."""
        self._nodes += 1
        if self.exhausted:
            advice = "say the same by lists, or by several segments"
            reason = f"a rule of more than {self.max_nodes:,} nodes: {advice}"
            raise DefinitionError([Issue(self.source, self._rule, reason)])

    @property
    def exhausted(self) -> bool:
        """Whether the rule has more nodes than it may have."""
        return self._nodes > self.max_nodes
