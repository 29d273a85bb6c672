"""Scores of your own: functions that a package installs as entry points of the group ``segops.scorers``.

``OwnScorer`` says what an entry point names.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any, Final

from segops.core.errors import DefinitionError
from segops.core.rules.parsing import Context, Reader, read_input_figure
from segops.core.scoring.models import Input
from segops.core.scoring.own import CHANGES, REGISTRY, STEPS, Installed, OwnScorer

__all__ = ["GROUP", "OwnScorer", "install", "installed", "load"]

GROUP: Final = "segops.scorers"


def load(name: str) -> None:
    """Load the scorer of this name into the registry, the first time that a model names it.

    One that is missing, or cannot be imported or used, gives no scores; the registry says why.
    """
    if name in REGISTRY.known:
        return
    found = tuple(entry_points(group=GROUP, name=name))
    if len(found) > 1:
        packages = ", ".join(sorted({each.dist.name for each in found if each.dist is not None}))
        REGISTRY.known[name] = f"the scorer {name!r} is installed by several packages: {packages}"
        return
    if not found:
        REGISTRY.known[name] = f"the scorer {name!r} is not installed here"
        return
    try:
        install(name, found[0].load())
    except Exception as error:  # the code of others: whatever it raises must not stop a worker
        REGISTRY.known[name] = f"the scorer {name!r} cannot be loaded: {error!r:.200}"


def install(name: str, scorer: Any) -> None:
    """Put a scorer into the registry, as an entry point of this name does. Raises as ``installed``."""
    REGISTRY.known[name] = installed(name, scorer)


def installed(name: str, scorer: Any) -> Installed:
    """Return a scorer with its figures as inputs.

    Raises TypeError for another object, and DefinitionError for figures that are invalid.
    """
    if not isinstance(scorer, OwnScorer):
        raise TypeError(f"expected an OwnScorer, got {type(scorer).__name__}")
    if scorer.changes not in CHANGES:
        raise TypeError(f"changes: expected one of {', '.join(CHANGES)}, got {scorer.changes!r}")
    if (scorer.changes == STEPS) is (scorer.next_step is None):
        raise TypeError("next_step: expected a function for a scorer with steps, and for no other")
    if not scorer.figures:
        raise TypeError("figures: expected at least one")
    return Installed(scorer, _inputs(name, scorer), scorer.figures)


def _inputs(name: str, scorer: OwnScorer) -> tuple[Input, ...]:
    found, issues = [], []
    for key, figure in scorer.figures.items():
        try:
            found.append(Input(key, read_input_figure(Reader(figure, key, Context(f"scorer {name}")))))
        except DefinitionError as error:
            issues += error.issues
    if issues:
        raise DefinitionError(issues)
    return tuple(found)
