"""Files of features: what a model is to be made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import yaml

from segops.core.errors import DefinitionError, Issue, UserError
from segops.core.scoring.models import Input, WeightedParameters
from segops.core.training.defaults import default_features
from segops.schemas.models import read_model

_KEYS = ("features", "forbid")


class Features(msgspec.Struct, frozen=True):
    """The features of a model: parsed, as written, and the names that none may read."""

    inputs: tuple[Input, ...]
    figures: tuple[Any, ...]
    forbid: tuple[str, ...] = ()


def load_features(path: Path | None, *, zone: str = "UTC") -> Features:
    """Read a file (YAML or JSON) with the lists ``features`` and ``forbid``; None: the default features.

    ``zone``: the time zone of the default features.

    Raises DefinitionError with every mistake, also that a feature reads what ``forbid`` names.
    """
    if path is None:
        return read_features({}, "default features", zone=zone)
    try:
        return read_features(yaml.safe_load(path.read_text("utf-8")), str(path), zone=zone)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot read the features: {error}") from None


def read_features(raw: Any, source: str, *, zone: str = "UTC") -> Features:
    """Read features as a model file has them. Raises DefinitionError with every mistake."""
    if not isinstance(raw, dict) or not isinstance(raw.get("features", []), list):
        raise DefinitionError([Issue(source, "features", "expected a list of features")])
    unknown = [
        Issue(source, str(key), "unknown key; expected features or forbid") for key in raw if key not in _KEYS
    ]
    if unknown:
        raise DefinitionError(unknown)
    written = raw.get("features", default_features(zone))
    names = (each.get("name") for each in written if isinstance(each, dict))
    weights = {name: 0.0 for name in names if isinstance(name, str)}
    model = {
        "name": "features",
        "kind": "logistic",
        "fitted_at": "1970-01-01T00:00:00Z",
        "features": written,
        "parameters": {"intercept": 0.0, "weights": weights},
        "forbid": raw.get("forbid", []),
    }
    found = read_model(model, source)
    inputs = found.parameters.inputs if isinstance(found.parameters, WeightedParameters) else ()
    return Features(inputs, tuple(each["figure"] for each in written), found.forbid)
