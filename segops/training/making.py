"""What the trainer is to make: the tasks, their features, and the models that come of an observer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec

from segops.config import TrainSettings
from segops.core.scoring.figure_scores import WeightedScore
from segops.core.scoring.models import Model, WeightedParameters
from segops.core.training.decisions import Task
from segops.core.training.inputs import Inputs
from segops.core.training.logistic import Standard
from segops.core.training.report import Source, TrainingReport, trained
from segops.core.training.rivals import InForce
from segops.schemas.identifying import IdentityLimits
from segops.training.features import Features
from segops.training.observer import Observer
from segops.training.snapshot import write_whole

TARGET: Final = "Order Completed"
HORIZONS: Final[Mapping[str, int]] = {"convert_24h": 86_400_000, "convert_7d": 7 * 86_400_000}


class Making(msgspec.Struct, frozen=True):
    """The models to make, of which features, and from where the events come (for the model file)."""

    tasks: tuple[Task, ...]
    features: Features
    source: str

    def observer(self, settings: TrainSettings, limits: IdentityLimits, *, wall_ms: int) -> Observer:
        """Return an observer that has seen nothing."""
        return Observer(
            self.tasks,
            Inputs(self.features.inputs),
            most_profiles=settings.profiles,
            most_decisions=settings.decisions,
            wall_ms=wall_ms,
            limits=limits,
        )

    def reports(
        self, observer: Observer, *, now_ms: int, in_force: Mapping[str, Model] = MappingProxyType({})
    ) -> list[TrainingReport]:
        """Return the report of each model, compared with that in force, if any.

        It may run in a thread while the observer rests.
        """
        source = Source(
            self.source,
            self.features.inputs,
            self.features.figures,
            observer.clock_ms if observer.first_ms is None else observer.first_ms,
            observer.clock_ms,
            observer.counts["applied"],
            self.features.forbid,
        )
        return [
            trained(
                of.task,
                list(of.known),
                source,
                now_ms=now_ms,
                in_force=_rival(in_force.get(of.task.name), observer),
            )
            for of in observer.decisions
        ]

    def mark(self, topic: str) -> str:
        """Return a hash of all that a snapshot depends on."""
        form = (topic, self.tasks, self.features.figures, [each.name for each in self.features.inputs])
        return sha256(msgspec.json.encode(form, order="sorted")).hexdigest()


def foretelling(model: Model, inputs: Inputs) -> Callable[[Sequence[float]], float] | None:
    """Return what a model says of vectors; None if it gives no score, or reads a feature that they lack."""
    parameters = model.parameters
    if not model.is_ready or not isinstance(parameters, WeightedParameters):
        return None
    positions = inputs.positions(parameters.inputs)
    if positions is None:
        return None
    score, standard = (
        WeightedScore(parameters),
        Standard([each.mean for each in parameters.inputs], [each.scale for each in parameters.inputs]),
    )
    return lambda vector: score.of(standard.of([vector[position] for position in positions]))


def _rival(model: Model | None, observer: Observer) -> InForce | None:
    """Return the model in force as a rival of a new one; None if it gives no score."""
    if model is None or not model.is_ready:
        return None
    live_ece = observer.live_ece.get(model.name)
    return InForce(model.version, foretelling(model, observer.inputs), model.valid_until_ms, live_ece)


def write_model(folder: Path, report: TrainingReport) -> Path | None:
    """Write the model of a report as ``NAME.json``; return its path. None: a leak refused it."""
    if report.model is None:
        return None
    path = folder / f"{report.name}.json"
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(path, msgspec.json.format(msgspec.json.encode(report.model), indent=2) + b"\n")
    return path
