"""The vocabulary of a deployment: the names and kinds that a rule may use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from segops.core.errors import UserError


@dataclass(frozen=True, slots=True)
class Kind:
    """What values a property, a trait or a score has.

    ``name`` is string, number, boolean, date, list, country, choice, probability or amount; ``values`` are
    those of a choice, ``currency`` that of an amount. ``likely``: from which probability on a request may
    call it likely without a number; 0: it is asked for the number.
    """

    name: str
    values: tuple[str, ...] = ()
    currency: str = ""
    likely: float = 0.0

    @property
    def is_number(self) -> bool:
        """Whether it is compared with numbers."""
        return self.name in ("number", "probability", "amount")


_NAMES: Final = {
    "string": "string",
    "text": "string",
    "number": "number",
    "boolean": "boolean",
    "date": "date",
    "list": "list",
    "iso2": "country",
    "country": "country",
    "0..1": "probability",
}
_CURRENCY = re.compile("[A-Z]{3}")


def read_kind(written: object) -> Kind:
    """Read a kind as written in a catalogue: a name, a currency, or the list of its values.

    >>> read_kind(["free", "team"])
    Kind(name='choice', values=('free', 'team'), currency='', likely=0.0)

    Raises ValueError for anything else.
    """
    if isinstance(written, Kind):
        return written
    if isinstance(written, dict) and written.keys() == {"kind", "likely"}:
        return _likely_from(read_kind(written["kind"]), written["likely"])
    if isinstance(written, list) and written and all(isinstance(value, str) for value in written):
        return Kind("choice", tuple(written))
    if isinstance(written, str) and written in _NAMES:
        return Kind(_NAMES[written])
    if isinstance(written, str) and _CURRENCY.fullmatch(written):
        return Kind("amount", currency=written)
    raise ValueError(f"expected a list of texts or one of {', '.join(_NAMES)}, got {written!r}")


def _likely_from(kind: Kind, least: object) -> Kind:
    if kind.name != "probability" or isinstance(least, bool) or not isinstance(least, (int, float)):
        raise ValueError(f"expected likely, a number, of a probability 0..1, got {least!r:.40}")
    if not 0 < least <= 1:
        raise ValueError(f"expected likely above 0 and at most 1, got {least!r:.40}")
    return replace(kind, likely=float(least))


_Written = Annotated[Any, BeforeValidator(read_kind)]


class _Point(BaseModel):
    model_config = ConfigDict(extra="forbid")

    lat: float
    lon: float


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid")

    events: dict[str, dict[str, _Written]] = {}
    traits: dict[str, _Written] = {}
    segments: list[str] = []
    scores: dict[str, _Written] = {}
    rfm: list[str] = []
    places: dict[str, _Point] = {}
    lists: list[str] = []
    currency: str = "EUR"
    zone: str = "UTC"


@dataclass(frozen=True)
class StudioCatalogue:
    """The names that rules may use, with the kinds of their values; ``zone`` is the one of calendar days."""

    events: Mapping[str, Mapping[str, Kind]]
    traits: Mapping[str, Kind] = field(default_factory=dict)
    segments: tuple[str, ...] = ()
    scores: Mapping[str, Kind] = field(default_factory=dict)
    rfm: tuple[str, ...] = ()
    places: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    lists: tuple[str, ...] = ()
    currency: str = "EUR"
    zone: str = "UTC"

    def __hash__(self) -> int:
        return hash((tuple(self.events), tuple(self.traits), self.segments, tuple(self.scores), self.rfm))

    @classmethod
    def from_document(cls, document: object, path: str) -> StudioCatalogue:
        """Read a catalogue as written in a file.

        Raises UserError that names ``path`` and each place with a mistake.
        """
        if not isinstance(document, dict):
            raise UserError(f"{path}: expected a map with events, traits, segments, scores, rfm or places")
        try:
            form = _Form.model_validate(document)
        except ValidationError as error:
            raise UserError("\n".join(_issues(error, path))) from None
        return cls(
            events=form.events,
            traits=form.traits,
            segments=tuple(form.segments),
            scores=form.scores,
            rfm=tuple(form.rfm),
            places={name: (place.lat, place.lon) for name, place in form.places.items()},
            lists=tuple(form.lists),
            currency=form.currency,
            zone=form.zone,
        )


def _issues(error: ValidationError, path: str) -> list[str]:
    return [
        f"{'.'.join([path, *map(str, issue['loc'])])}: {issue['msg'].removeprefix('Value error, ')}"
        for issue in error.errors(include_url=False)
    ]
