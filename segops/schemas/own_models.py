"""Models of kind ``python``: the name of a scorer, its parameters, and the figures that it declares."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from segops import scorers
from segops.core.rules.parsing import SCORE_PATTERN, Reader, read_input_figure
from segops.core.scoring.models import Input, OwnParameters
from segops.core.scoring.own import REGISTRY, Installed, OwnScore

PYTHON: Final = "python"
MAX_FIGURES: Final = 1_000


def with_figures(raw: Any) -> Any:
    """Return the form of a model, of kind ``python`` with the figures that its scorer declares.

    They are in the form of a published model, so that it can be read where the scorer is not installed.
    """
    if not isinstance(raw, dict) or raw.get("kind") != PYTHON or "features" in raw:
        return raw
    found = _installed(raw.get("scorer"))
    if not isinstance(found, Installed):
        return raw
    return {
        **raw,
        "features": [{"name": name, "figure": figure} for name, figure in found.figures.items()],
    }


def read_own(form: Reader) -> OwnParameters:
    """Read the keys of a model of kind ``python``. Raises DefinitionError."""
    scorer, inputs, parameters = form.gather(
        lambda: _scorer(form), lambda: _inputs(form), lambda: _json(form)
    )
    return OwnParameters(scorer, inputs, parameters)


def own_problem(parameters: object) -> str | None:
    """Return why this process cannot compute the scores of a model of kind ``python``; None if it can."""
    if not isinstance(parameters, OwnParameters):
        return None
    return OwnScore(parameters.scorer, parameters.inputs, parameters.json).problem


def _installed(name: Any) -> Installed | str:
    if not isinstance(name, str) or not re.fullmatch(SCORE_PATTERN, name):
        return ""
    scorers.load(name)
    return REGISTRY.known[name]


def _at(form: Reader, key: str) -> Reader:
    return Reader(form.raw.get(key), f"{form.path}.{key}".lstrip("."), form.context)


def _scorer(form: Reader) -> str:
    at = _at(form, "scorer")
    if not isinstance(at.raw, str) or not re.fullmatch(SCORE_PATTERN, at.raw):
        at.fail(
            "expected the name of a scorer, of lower-case letters, digits, hyphens and underscores, "
            f"got {at.raw!r:.70}"
        )
    _installed(at.raw)
    return str(at.raw)


def _inputs(form: Reader) -> tuple[Input, ...]:
    at = _at(form, "features")
    if "features" not in form.raw:
        why = _installed(form.raw.get("scorer"))
        at.fail(f"missing figures of the scorer{f': {why}' if isinstance(why, str) and why else ''}")
    found: list[Input] = []
    for each in at.items(f"a list of 1 to {MAX_FIGURES:,} features", MAX_FIGURES):
        name, figure = each.record(
            {"name": Reader.text, "figure": read_input_figure},
            "{name: views_24h, figure: {did: View, within: 24h}}",
        )
        if name in {other.name for other in found}:
            each.at("name").fail(f"duplicate feature {name!r}")
        found.append(Input(name, figure))
    return tuple(found)


def _json(form: Reader) -> str:
    at = _at(form, "parameters")
    raw = {} if at.raw is None else at.raw
    if not isinstance(raw, dict):
        at.fail(f"expected a map, got {at.raw!r:.40}")
    try:
        return json.dumps(raw, allow_nan=False, sort_keys=True)
    except (TypeError, ValueError):
        at.fail(f"expected what JSON can hold, got {at.raw!r:.40}")
