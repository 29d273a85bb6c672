"""Model files on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from segops.core.errors import DefinitionError, Issue
from segops.core.scoring.models import Model
from segops.schemas.issues import unreadable
from segops.schemas.models import read_model
from segops.schemas.segment_input import parse


def load_model(file: Path) -> Model:
    """Load a model file. Raises DefinitionError with every mistake: file, path and reason."""
    try:
        raw = parse(file)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise DefinitionError([unreadable(file, error)]) from None
    return read_model(raw, str(file))


def load_models(files: Sequence[Path]) -> dict[str, Model]:
    """Load model files, by the name of the model. Raises DefinitionError with the mistakes of all of them."""
    found: dict[str, Model] = {}
    sources: dict[str, Path] = {}
    issues: list[Issue] = []
    for file in files:
        try:
            model = load_model(file)
        except DefinitionError as error:
            issues += error.issues
            continue
        if (other := sources.setdefault(model.name, file)) is not file:
            issues.append(Issue(str(file), "name", f"duplicate model {model.name!r}: {other} has it, too"))
        found[model.name] = model
    if issues:
        raise DefinitionError(issues)
    return found
