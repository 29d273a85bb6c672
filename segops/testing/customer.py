"""One customer under some segments, one line per step. Times are integer milliseconds since 1970, UTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from segops.core.engine import Engine
from segops.core.events import Event
from segops.core.identity.protocol import Identity
from segops.core.indicators import INDICATOR_PREFIX
from segops.core.lookups import columns_of
from segops.core.profile import Profile
from segops.core.rules.blocks import names_of_models
from segops.core.rules.model import ListInForce
from segops.core.rules.parsing import (
    Context,
    read_areas,
    read_grids,
    read_indicators,
    read_policy,
    read_rfm,
    read_rule,
)
from segops.core.scoring.models import Model
from segops.core.segments import Definition, SegmentSet
from segops.core.static_lists import note_listing
from segops.core.step import StepResult
from segops.core.values import parse_instant
from segops.schemas.indicators import definitions_of
from segops.schemas.lookups import NO_TABLES, Blocks, read_tables
from segops.schemas.model_files import load_models
from segops.schemas.models import NO_MODELS, written
from segops.schemas.segments import load_checked
from segops.schemas.static_lists import bound

#: Earlier than any event of a test.
LONG_AGO = -(10**14)


def at(text: str) -> int:
    """Return an ISO 8601 instant in milliseconds. Raises ValueError if it is not one.

    >>> at("1970-01-02"), at("1970-01-01T01:00:00.001+01:00")
    (86400000, 1)
    """
    ms = parse_instant(text)
    if ms is None:
        raise ValueError(f"expected an ISO-8601 date or time, got {text!r}")
    return ms


def definition(
    key: str,
    rule: dict[str, Any],
    *,
    version: int = 1,
    areas: dict[str, Any] | None = None,
    tables: Blocks = NO_TABLES,
    rfm: dict[str, Any] | None = None,
    models: Mapping[str, Model] = NO_MODELS,
) -> Definition:
    """Parse a rule as an author writes it, and its policy if it has a ``membership`` block.

    ``areas``: a ``places`` block, for a rule that names places; ``tables``: blocks of look-up tables;
    ``rfm``: an ``rfm`` block; ``models``: those in force, by name.

    Raises DefinitionError if the rule is invalid. It is not linted: a rule that never holds is accepted.
    """
    named = {} if areas is None else read_areas(areas, "places", Context("test"))
    context = Context("test", areas=named)
    context.lookups = read_tables(tables, context)
    context.models, context.scores = models, tuple(models)
    if rfm is not None:
        context.rfm, context.grids = read_rfm(rfm, "rfm", context), read_grids(rfm, "rfm", context)
    when = {name: part for name, part in rule.items() if name != "membership"}
    node = read_rule(when, key, context)
    policy = read_policy(rule["membership"], key, context) if "membership" in rule else None
    columns = columns_of(node)
    bound_to = {name: written(models[name]) for name in sorted(names_of_models(node)) if name in models}
    return Definition(
        key,
        key,
        node,
        version=version,
        written=when,
        columns=columns,
        policy=policy,
        models=bound_to or None,
    )


def segments(**rules: dict[str, Any]) -> SegmentSet:
    """Return a segment set with one segment per keyword; an underscore becomes a hyphen in the key."""
    return SegmentSet([definition(key.replace("_", "-"), rule) for key, rule in rules.items()])


class Flip(NamedTuple):
    """The fields of a membership change that most tests compare; ``action``: ``entered`` or ``exited``."""

    action: str
    segment: str
    occurred_at: int


def flips(result: StepResult) -> list[Flip]:
    """Return the changes of a step, in order. Raises AssertionError if a rule failed to evaluate."""
    if result.failures:
        raise AssertionError(f"failed to evaluate: {result.failures}")
    return [Flip(change.action, change.segment_key, change.occurred_at) for change in result.changes]


class Customer:
    """A customer under the segments given as keyword arguments, an underscore for each hyphen of a key.

    Events may have any times; only ``wait`` advances the clock, which begins at ``clock_ms``. The customer
    stays one profile; several customers and their merges are the subject of scenarios.

    >>> noon = at("2026-03-01T12:00Z")
    >>> ann = Customer(high_intent={"did": "Product Viewed", "count": {"gte": 2}, "within": "48h"})
    >>> ann.did("Product Viewed", noon), ann.did("Product Viewed", noon + 5)
    ([], [Flip(action='entered', segment='high-intent', occurred_at=1772366400005)])
    >>> ann.member_of
    {'high-intent'}
    >>> ann.wait(at("2026-03-03T12:00Z"))
    [Flip(action='exited', segment='high-intent', occurred_at=1772539200000)]
    """

    def __init__(self, clock_ms: int = LONG_AGO, /, **rules: dict[str, Any]) -> None:
        self.engine = Engine(segments(**rules))
        self.profile: Profile = self.engine.new_profile("user_id:u1")
        self.clock_ms = clock_ms
        self._count = 0
        self._lists: dict[str, ListInForce] = {}

    @classmethod
    def from_files(
        cls, *paths: str | Path, models: Sequence[str | Path] = (), clock_ms: int = LONG_AGO
    ) -> Customer:
        """Return a customer under the segments of files and folders, with the scores of ``models``, files.

        Raises DefinitionError with the mistakes of all files, as ``segops check`` reports them.
        """
        customer = cls(clock_ms)
        in_force = load_models([Path(model) for model in models])
        loaded = load_checked([Path(path) for path in paths], in_force)
        customer.engine = Engine(SegmentSet(loaded.all_definitions))
        customer.profile = customer.engine.new_profile(customer.profile.id)
        return customer

    @classmethod
    def with_indicators(
        cls, indicators: dict[str, Any], clock_ms: int = LONG_AGO, /, **rules: dict[str, Any]
    ) -> Customer:
        """Return a customer with the ``indicators`` block of a segment file, and segments as keywords.

        >>> ann = Customer.with_indicators({"spent": {"sum": "total", "of": "Buy", "within": "1h"}})
        >>> _ = ann.did("Buy", at("2026-03-01T12:00Z"), total=20)
        >>> ann.indicators
        {'spent': 20}
        >>> _ = ann.wait(at("2026-03-01T13:00Z"))
        >>> ann.indicators
        {'spent': 0}
        """
        customer = cls(clock_ms)
        figures = read_indicators(indicators, "indicators", Context("test"))
        published = definitions_of(indicators, figures, Context("test"), blocks=lambda _node: {})
        listed = segments(**rules).definitions
        customer.engine = Engine(SegmentSet([*listed, *published]))
        customer.profile = customer.engine.new_profile(customer.profile.id)
        return customer

    def send(
        self,
        name: str,
        time_ms: int,
        *,
        message_id: str | None = None,
        traits: dict[str, Any] | None = None,
        location: tuple[float, float] | None = None,
        context: dict[str, Any] | None = None,
        **properties: Any,
    ) -> StepResult:
        """Apply an event with these properties and return all that it caused.

        Without a ``message_id``, the event is no duplicate. ``location``: latitude and longitude in degrees.
        ``context``: what rules read of the context of the call.
        """
        self._count += 1
        message_id = message_id or f"m{self._count}"
        event = Event(name, time_ms, message_id, properties, traits, location=location, context=context)
        return self.engine.on_event(self.profile, event, clock_ms=self.clock_ms)

    def did(self, name: str, time_ms: int, **more: Any) -> list[Flip]:
        """Apply an event like ``send`` and return its changes."""
        return flips(self.send(name, time_ms, **more))

    def wait(self, clock_ms: int) -> list[Flip]:
        """Advance the clock, never back, and return the changes caused by time."""
        self.clock_ms = max(clock_ms, self.clock_ms)
        return flips(self.engine.on_timer(self.profile, clock_ms=self.clock_ms))

    def adopt(self, **rules: dict[str, Any]) -> StepResult:
        """Replace the segments and return all that this caused."""
        self.engine = Engine(SegmentSet(bound(segments(**rules).definitions, self._lists)))
        return self.engine.on_definitions(self.profile, clock_ms=self.clock_ms)

    def upload(self, key: str, *, names: bool = True, expires_ms: int | None = None) -> list[Flip]:
        """Put the next version of a static list in force; return the changes.

        ``names``: whether the customer is on it; ``expires_ms``: the instant from which no one is.
        """
        version = self._lists[key].version + 1 if key in self._lists else 1
        self._lists[key] = ListInForce(version, expires_ms)
        if names:
            note_listing(self.profile, key, version, version)
        self.engine = Engine(SegmentSet(bound(self.engine.segments.all_definitions, self._lists)))
        return flips(Identity(self.engine).on_definitions(self.profile, clock_ms=self.clock_ms))

    @property
    def indicators(self) -> dict[str, Any]:
        """The value of each indicator that was published last, without missing ones."""
        published = self.profile.published.items()
        return {
            key.removeprefix(INDICATOR_PREFIX): each.value
            for key, each in published
            if each.value is not None
        }

    @property
    def member_of(self) -> set[str]:
        """The keys of the segments that the customer is a member of."""
        return set(self.profile.members)
