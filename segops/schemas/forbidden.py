"""What a model reads although its ``forbid`` names it."""

from __future__ import annotations

from collections.abc import Iterator

from segops.core.rules.figures import AggregateFigure
from segops.core.rules.model import Selection
from segops.core.rules.parsing import figure_names
from segops.core.scoring.models import AffinityParameters, Model
from segops.core.windows import ALWAYS


def forbidden_reads(model: Model) -> Iterator[tuple[str, str, str, str]]:
    """Yield the place in a model's file, what reads there, the name that it reads, and the forbidden name."""
    for place, what, names in _reads(model):
        for name in names:
            for forbidden in model.forbid:
                if name == forbidden or name.startswith(f"{forbidden}."):
                    yield place, what, name, forbidden


def _reads(model: Model) -> Iterator[tuple[str, str, list[str]]]:
    parameters = model.parameters
    if isinstance(parameters, AffinityParameters):
        read = AggregateFigure("most_frequent", parameters.path, Selection(parameters.names), ALWAYS)
        yield "parameters", "affinity", figure_names(read)
    for at, each in enumerate(getattr(parameters, "inputs", ())):
        yield f"features[{at}].figure", f"feature {each.name!r}", figure_names(each.figure)
