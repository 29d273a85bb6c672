"""The state that the readers of one rule share."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

from segops.core.areas import Area
from segops.core.errors import DefinitionError, Issue
from segops.core.lookups import LookupTable
from segops.core.rules.figures import Figure
from segops.core.rules.model import ListInForce
from segops.core.scoring.models import Model
from segops.core.scoring.population import populations_in
from segops.core.scoring.rfm import Rfm

#: Limit on the nodes of a rule: to find its next flip, every leaf is evaluated at every edge.
MAX_NODES = 1_000

_DEFAULT_RFM = Rfm()
#: Measure -> its edges.
Edges = Mapping[str, tuple[Any, ...]]
_NO_AREAS: Mapping[str, tuple[Area, ...]] = MappingProxyType({})


class Context:
    """Where a rule comes from, the limits that apply to it, and the warnings about it.

    ``rfm`` is the grid whose tiers the rule may name. It is None if the ``rfm`` block is invalid; any tier is
    then accepted, so that one mistake is not reported again at each node. Likewise ``areas``, by the names of
    ``places``.
    ``published``: the rule was accepted by this version or an earlier one, whose notation is read, too.
    """

    def __init__(
        self,
        source: str = "-",
        rfm: Rfm | None = _DEFAULT_RFM,
        max_nodes: int = MAX_NODES,
        *,
        published: bool = False,
        areas: Mapping[str, tuple[Area, ...]] | None = _NO_AREAS,
    ) -> None:
        self.source = source
        self.rfm = rfm
        #: The named grids. None if the block is invalid: any name is accepted.
        self.grids: Mapping[str, Rfm] | None = {}
        self.areas = areas
        self.max_nodes = max_nodes
        self.published = published
        self.negations = 0  #: the number of ``not`` above the node being read
        #: The indicators that the rule may name, by key. None if the block is invalid: any key is accepted.
        self.indicators: Mapping[str, Figure] | None = {}
        self.used_indicators: set[str] = set()
        #: The look-up tables that the rule may name. None if the block is invalid: any name is accepted.
        self.lookups: Mapping[str, LookupTable] | None = {}
        #: The static lists in force, by key: bound to the rules that name them.
        self.lists: Mapping[str, ListInForce] = {}
        #: The scores that the file declares. None if the block is invalid: any name is accepted.
        self.scores: Collection[str] | None = ()
        #: The models in force, by name: bound to the rules that read their scores.
        self.models: Mapping[str, Model] = {}
        self.warnings: list[Issue] = []
        self._rule, self._nodes = "", 0

    def population_edges(self, model: str, groups: Mapping[str, int]) -> Edges | None:
        """Return the edges of these measures, each into so many groups; None if they are not measured."""
        known = populations_in(self.models).get(model, {})
        found = {
            name: known[name] for name, number in groups.items() if len(known.get(name, ())) == number - 1
        }
        return found if len(found) == len(groups) else None

    def begin(self, path: str) -> None:
        """Start counting the nodes of the rule at ``path``."""
        self._rule, self._nodes = path, 0

    def count_node(self) -> None:
        """Count a node. Raises DefinitionError at the path of the rule beyond the limit."""
        self._nodes += 1
        if self.exhausted:
            advice = "use lists, or split the rule into several segments"
            reason = f"more than {self.max_nodes:,} nodes; {advice}"
            raise DefinitionError([Issue(self.source, self._rule, reason)])

    @property
    def exhausted(self) -> bool:
        """Whether the rule has more nodes than the limit."""
        return self._nodes > self.max_nodes
