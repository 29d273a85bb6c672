"""Fields and values: which trait or property a phrase means beside its neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from segops.studio.catalogue import Kind, StudioCatalogue
from segops.studio.clauses import Both
from segops.studio.meanings import Field, Value

#: Properties that an event has an amount of money in, the most telling first.
_MONEY: Final = ("revenue", "total", "value", "amount", "price")
_FIGURES: Final = (*_MONEY, "rating", "score", "quantity")
_PURCHASES: Final = ("order completed", "purchase", "purchased", "order placed", "checkout completed")


@dataclass(frozen=True, slots=True)
class Values:
    """Values said of one field: each option has all fields that it may be a value of.

    ``joint``: all of them are meant at once. ``bound``: ``up`` or ``down`` from the value, in the catalogue's
    order.
    """

    options: tuple[tuple[Value, ...], ...]
    joint: bool = False
    both: bool = False
    bound: str = ""
    #: The name of the field was said before the value.
    named: bool = False

    def fields(self) -> tuple[Field, ...]:
        """Return the fields that every option has a value of."""
        first, *rest = [tuple(value.field for value in option) for option in self.options]
        return tuple(field for field in first if all(field in fields for fields in rest))

    def of(self, field: Field) -> tuple[Any, ...]:
        """Return the values of a field that all options have."""
        return tuple(next(value.value for value in option if value.field == field) for option in self.options)

    def only(self, fields: Iterable[Field]) -> Values | None:
        """Return the values as those of some fields alone; None if they have none of them."""
        kept = set(fields) & set(self.fields())
        if not kept:
            return None
        options = tuple(tuple(value for value in option if value.field in kept) for option in self.options)
        return Values(options, self.joint, self.both, self.bound)


def literal_values(texts: Sequence[str], fields: Iterable[Field]) -> Values:
    """Return texts as values of fields that have any text."""
    return Values(tuple(tuple(Value(field, text) for field in fields) for text in texts))


class Schema:
    """The kinds of a catalogue, asked by field."""

    def __init__(self, catalogue: StudioCatalogue) -> None:
        self.catalogue = catalogue

    def kind(self, names: tuple[str, ...], prop: str) -> Kind | None:
        """Return the kind of a property that all events have; None if one lacks it."""
        kinds = [self.catalogue.events[name].get(prop) for name in names]
        return None if not kinds or None in kinds else kinds[0]

    def trait(self, name: str) -> Kind:
        """Return the kind of a trait."""
        return self.catalogue.traits[name]

    def owners(self, prop: str) -> tuple[str, ...]:
        """Return the events that have a property."""
        return tuple(name for name, kinds in self.catalogue.events.items() if prop in kinds)

    def is_text(self, field: Field) -> bool:
        """Whether a field has any text as its value."""
        if field.owner == "trait":
            return self.trait(field.name).name in ("string", "list")
        return any(
            self.catalogue.events[name][field.name].name == "string" for name in self.owners(field.name)
        )

    def money(self, names: tuple[str, ...]) -> str | None:
        """Return the property that has the amount of money of events."""
        return next((prop for prop in _MONEY if self._is_number(names, prop)), None)

    def figure(self, names: tuple[str, ...]) -> str | None:
        """Return the property that a number beside events is of: their amount, rating or score."""
        return next((prop for prop in _FIGURES if self._is_number(names, prop)), None)

    def _is_number(self, names: tuple[str, ...], prop: str) -> bool:
        kind = self.kind(names, prop)
        return kind is not None and kind.is_number

    def purchase(self) -> tuple[str, ...]:
        """Return the event of a purchase; empty if the catalogue has none."""
        known = {name.lower(): name for name in self.catalogue.events}
        return next(((known[name],) for name in _PURCHASES if name in known), ())

    def test_of(self, names: tuple[str, ...], values: Values) -> tuple[str, Any] | None:
        """Return the property of events that values are of, and what it is asked; None if they have none."""
        for field in (field for field in values.fields() if field.owner == "property"):
            kind = self.kind(names, field.name)
            if kind is None:
                continue
            said = values.of(field)
            if kind.name == "string" or set(said) <= set(kind.values):
                return field.name, self._asked(said, kind, values)
        return None

    def _asked(self, said: tuple[Any, ...], kind: Kind, values: Values) -> Any:
        said = bounded(said, kind.values, values.bound)
        if len(said) == 1:
            return said[0]
        return Both(said) if values.joint or values.both else {"in": list(said)}


def bounded(said: tuple[Any, ...], known: tuple[str, ...], bound: str) -> tuple[Any, ...]:
    """Return the values from one on upwards or downwards, in the order of a catalogue.

    >>> bounded(("gold",), ("bronze", "silver", "gold", "platinum"), "up")
    ('gold', 'platinum')
    """
    if not bound or len(said) != 1 or said[0] not in known:
        return said
    at = known.index(said[0])
    return {"up": known[at:], "down": known[: at + 1], "above": known[at + 1 :], "below": known[:at]}[bound]
