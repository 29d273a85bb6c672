"""The parameters of models for affinities: which events count, and the population's shares of values."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import fsum, isfinite
from typing import Any, Final

from segops.core.rules.parsing import Reader, Reads
from segops.core.scoring.models import AffinityParameters
from segops.core.values import format_instant, kind

#: The greatest number of values that have a share, and how many a refresh gives one by default.
MAX_SHARES: Final = 1_000
VALUES: Final = 100
PRIOR: Final = 5.0
LEAST: Final = 1
MAX_LEAST: Final = 1_000
MAX_PRIOR: Final = 1_000_000
_MEASURED: Final = ("shares", "profiles", "measured_at")
_EXAMPLE: Final = "{of: [Product Viewed], path: category, half_life: 30d}"
#: Shares are written with so many decimals that together they may exceed 1 by a little.
_MOST: Final = 1 + 1e-6


def read_affinity(form: Reader) -> AffinityParameters:
    """Read the ``parameters`` of a model form. Raises DefinitionError with every mistake.

    Without ``shares`` the population is not measured yet.
    """
    at = Reader(form.raw.get("parameters"), f"{form.path}.parameters".lstrip("."), form.context)
    reads: Reads = {"of": Reader.names, "path": Reader.property, "half_life": Reader.positive_duration}
    optional: Reads = {
        "prior": _prior,
        "least": partial(Reader.integer, least=1, most=MAX_LEAST),
        "values": partial(Reader.integer, least=1, most=MAX_SHARES),
        "shares": _shares,
        "profiles": partial(Reader.integer, least=1),
        "measured_at": Reader.instant,
    }
    names, path, half_life_ms, *found = at.record(reads, _EXAMPLE, optional)
    prior, least, _, shares, profiles, measured_at_ms = found
    if len({each is None for each in (shares, profiles, measured_at_ms)}) > 1:
        at.fail(f"expected {', '.join(_MEASURED)} together, or none of them")
    return AffinityParameters(
        names,
        path,
        half_life_ms,
        PRIOR if prior is None else prior,
        LEAST if least is None else least,
        shares or (),
        profiles or 0,
        measured_at_ms,
    )


def _prior(form: Reader) -> float:
    if kind(form.raw) != "number" or not 0 < form.raw <= MAX_PRIOR:
        form.fail(f"expected a number above 0, up to {MAX_PRIOR:,}, got {form.raw!r:.40}")
    return float(form.raw)


def _shares(form: Reader) -> tuple[tuple[str, float], ...]:
    if not isinstance(form.raw, dict) or not 1 <= len(form.raw) <= MAX_SHARES:
        form.fail(f"expected a map of 1 to {MAX_SHARES:,} values to their shares, such as {{shoes: 0.2}}")
    shares = form.gather(*(partial(_share, form, value) for value in form.raw))
    if fsum(shares) > _MOST:
        form.fail(f"expected shares of at most 1 together, got {fsum(shares):g}")
    return tuple(sorted(zip(form.raw, shares, strict=True)))


def _share(form: Reader, value: Any) -> float:
    at = form.at(value)
    if not isinstance(value, str) or not value:
        at.fail(f"expected a text as value, got {value!r:.40}")
    if kind(at.raw) != "number" or not isfinite(at.raw) or not 0 < at.raw <= 1:
        at.fail(f"expected a share above 0, up to 1, got {at.raw!r:.40}")
    return float(at.raw)


def written_affinity(
    parameters: Mapping[str, Any], shares: Mapping[str, float], *, profiles: int, measured_at_ms: int
) -> dict[str, Any]:
    """Return the form of parameters with other shares, which ``read_affinity`` reads."""
    measured = (dict(shares), profiles, format_instant(measured_at_ms))
    return {**parameters, **dict(zip(_MEASURED, measured, strict=True))}
