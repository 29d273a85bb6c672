"""The reading of one segment file, or of one record of a definition: its blocks, then its segments."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from segops.core.areas import Area
from segops.core.audiences.model import Audience
from segops.core.errors import DefinitionError, Issue
from segops.core.lookups import LookupTable, columns_of
from segops.core.rules.analysis import lint, lint_rfm
from segops.core.rules.blocks import names_of_areas, names_of_models, names_of_scores, reads_rfm
from segops.core.rules.figures import Figure
from segops.core.rules.model import KnownFor, ListInForce, Node
from segops.core.rules.parsing import (
    MAX_NODES,
    Context,
    figure_form,
    read_alerts,
    read_areas,
    read_grids,
    read_indicators,
    read_policy,
    read_rfm,
    read_rule,
    read_scores,
)
from segops.core.scoring.models import Model
from segops.core.scoring.rfm import Rfm
from segops.core.segments import Definition
from segops.schemas.indicators import definitions_of
from segops.schemas.issues import form_issues
from segops.schemas.lookups import Blocks, read_tables
from segops.schemas.models import NO_MODELS, read_models
from segops.schemas.models import written as written_model

KEY_PATTERN = r"^[a-z0-9][a-z0-9-]{0,63}$"
#: Earlier versions accepted larger rules; published ones remain valid.
_MAX_PUBLISHED_NODES = 10 * MAX_NODES
_T = TypeVar("_T")


class SegmentForm(BaseModel):
    """A segment as written."""

    model_config = ConfigDict(extra="forbid", strict=True)

    key: str = Field(pattern=KEY_PATTERN)
    name: str = Field(default="", max_length=200)
    description: str = Field(default="", max_length=2_000)
    when: dict[Any, Any]
    membership: Any = None
    alert: Any = None
    expose: bool = False


class Reading:
    """The reading of one file or record: its source, the definitions and mistakes found, its ``rfm`` block.

    ``lints``: whether rules are checked for nodes that never or always hold. A published record is not: it
    was checked when it was published, and must remain readable even if a later version finds more.
    """

    def __init__(
        self, source: str, issues: list[Issue], warnings: list[Issue], *, lints: bool = True
    ) -> None:
        self.source = source
        self.lints = lints
        self.issues = issues
        self.warnings = warnings
        #: None if the block is invalid.
        self.rfm: Rfm | None = Rfm()
        #: The named grids; None if one of them is invalid.
        self.grids: Mapping[str, Rfm] | None = {}
        self.rfm_written: Any = None
        #: The areas of ``places``; None if the block is invalid.
        self.areas: Mapping[str, tuple[Area, ...]] | None = {}
        self.areas_written: Any = {}
        #: None if the block is invalid.
        self.indicators: dict[str, Figure] | None = {}
        self.indicators_written: Any = {}
        #: The definitions of those that are published.
        self.published: list[Definition] = []
        #: The look-up tables; None if the block is invalid.
        self.tables: Mapping[str, LookupTable] | None = {}
        #: The static lists in force that are bound to the rules.
        self.lists: Mapping[str, ListInForce] = {}
        #: The names that ``scores`` declares; None if the block is invalid.
        self.scores: list[str] | None = []
        self.scores_written: Any = {}
        #: The models in force, by name, that are bound to the rules.
        self.models: Mapping[str, Model] = {}
        self.definitions: list[Definition] = []
        self.audiences: list[Audience] = []
        #: Placeholders for invalid segments, so that references to them are not reported as mistakes, too.
        self.placeholders: list[Definition] = []

    def use_rfm(self, written: Any) -> None:
        """Parse the ``rfm`` block; the rules read afterwards use it."""
        if written is None:
            return
        self.rfm_written, context = written, Context(self.source, published=not self.lints)
        context.models = self.models
        self.rfm = self._attempt(partial(read_rfm, written, "rfm", context))
        self.grids = self._attempt(partial(read_grids, written, "rfm", context))
        self.warnings += context.warnings
        grids = {"rfm": self.rfm, **{f"rfm.{name}": grid for name, grid in (self.grids or {}).items()}}
        for path, grid in grids.items():
            found = () if grid is None else lint_rfm(grid)
            self.warnings += [Issue(self.source, f"{path}.tiers", reason) for reason in found]

    def use_areas(self, written: Any) -> None:
        """Parse the ``places`` block; the rules read afterwards use it."""
        if written is not None:
            self.areas = self._attempt(partial(read_areas, written, "places", Context(self.source)))
            self.areas_written = {} if self.areas is None else written

    def use_tables(self, blocks: Blocks) -> None:
        """Read the look-up tables; the rules read afterwards use them."""
        self.tables = self._attempt(partial(read_tables, blocks, Context(self.source)))

    def use_scores(self, written: Any) -> None:
        """Parse the ``scores`` block; what is read afterwards may name its scores."""
        if written is not None:
            context = Context(self.source)
            context.models = self.models
            self.scores = self._attempt(partial(read_scores, written, "scores", context))
            self.scores_written = {} if self.scores is None else written
            self.warnings += context.warnings

    def use_models(self, written: Any, others: Mapping[str, Model] = NO_MODELS) -> None:
        """Parse the block ``models`` of a record, before scores and indicators; ``others`` take its place."""
        found = None if written is None else self._attempt(partial(read_models, written, self.source))
        self.models = {**(found or {}), **others}

    def use_indicators(self, written: Any) -> None:
        """Parse the ``indicators`` block, after all others; the rules read afterwards use it."""
        if written is not None:
            context = Context(self.source, self.rfm, areas=self.areas)
            context.lookups, context.scores, context.models = self.tables, self.scores, self.models
            context.grids = self.grids
            self.indicators = self._attempt(partial(read_indicators, written, "indicators", context))
            self.indicators_written = {} if self.indicators is None else written

    def use_lists(self, written: Any) -> None:
        """Parse the static lists that are bound to a published rule, which is read afterwards."""
        try:
            self.lists = msgspec.convert(written or {}, dict[str, ListInForce])
        except msgspec.ValidationError as error:
            self.issues.append(Issue(self.source, "lists", str(error)))

    def publish_indicators(self) -> None:
        """Read which of the indicators are published, and when."""
        context, figures = Context(self.source, self.rfm), self.indicators or {}
        read = partial(definitions_of, self.indicators_written, figures, context, blocks=self._blocks)
        found = (self._attempt(read) or []) if figures else []
        self.published = [each for each in found if self._sound(each.when, f"indicators.{each.name}")]

    def segments(self, written: Sequence[Any], path: str = "segments") -> None:
        """Read a list of segments at a path."""
        for i, raw in enumerate(written):
            definition = self.segment(raw, f"{path}[{i}]")
            if definition is not None:
                self.definitions.append(definition)
            elif isinstance(raw, dict) and isinstance(raw.get("key"), str):
                self.placeholders.append(Definition(raw["key"], raw["key"], KnownFor(0), source=self.source))

    def segment(self, raw: Any, path: str) -> Definition | None:
        """Read a segment; return None if it is invalid, with its mistakes in ``issues``."""
        try:
            form = SegmentForm.model_validate(raw)
        except ValidationError as error:
            self.issues += form_issues(self.source, path, error)
            return None
        most = MAX_NODES if self.lints else _MAX_PUBLISHED_NODES
        context = Context(self.source, self.rfm, most, published=not self.lints, areas=self.areas)
        context.indicators, context.lookups, context.grids = self.indicators, self.tables, self.grids
        context.lists, context.scores, context.models = self.lists, self.scores, self.models
        node = self._attempt(partial(read_rule, form.when, f"{path}.when", context))
        policy, alerts, known = None, None, len(self.issues)
        if "membership" in form.model_fields_set:
            policy = self._attempt(partial(read_policy, form.membership, f"{path}.membership", context))
        if "alert" in form.model_fields_set:
            alerts = self._attempt(partial(read_alerts, form.alert, f"{path}.alert", context))
        self.warnings += context.warnings
        wrong = len(self.issues) > known
        if node is None or not self._sound(node, f"{path}.when") or wrong:
            return None
        return Definition(
            form.key,
            form.name or form.key,
            node,
            form.description,
            written=form.when,
            source=self.source,
            indicators=_chosen(self.indicators_written, context.used_indicators, figure_form),
            lists=msgspec.to_builtins(self.lists) or None,
            **self._blocks(node),
            policy=policy,
            alerts=alerts or (),
            expose=form.expose,
        )

    def _blocks(self, node: Node) -> dict[str, Any]:
        """Return the parts of the file's blocks that a rule reads, by the field of a definition."""
        return {
            "rfm": self.rfm_written if self.rfm_written is not None and reads_rfm(node) else None,
            "areas": _chosen(self.areas_written, names_of_areas(node)),
            "columns": columns_of(node) if self.tables else (),
            "scores": _chosen(self.scores_written, names_of_scores(node)),
            "models": _chosen(self.models, names_of_models(node), written_model),
        }

    def _attempt(self, read: Callable[[], _T]) -> _T | None:
        """Return the result of ``read``, or None after adding its mistakes to ``issues``."""
        try:
            return read()
        except DefinitionError as error:
            self.issues += error.issues
            return None

    def _sound(self, node: Node, path: str) -> bool:
        if not self.lints or (None in (self.rfm, self.grids) and reads_rfm(node)):
            return True
        found = lint(node, path)
        self.issues += [Issue(self.source, *finding) for finding in found.never]
        self.warnings += [Issue(self.source, *finding) for finding in (*found.always, *found.notes)]
        return not found.never


def _chosen(written: Any, names: Collection[str], form: Callable[[Any], Any] = lambda part: part) -> Any:
    """Return the parts of a block with these names, each in its ``form``; None if it has none of them."""
    return {name: form(part) for name, part in written.items() if name in names} or None
