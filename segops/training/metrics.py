"""The metrics of the trainer."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class TrainingMetrics:
    """What the trainer reads, keeps and drops, and what the models in force are worth."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._reading(registry)
        self._models(registry)

    def _reading(self, registry: CollectorRegistry) -> None:
        self.events = Counter(
            "segops_training_events_total",
            "Events read by the trainer: applied, a duplicate, unreadable, or skipped as not in its sample.",
            ["result"],
            registry=registry,
        )
        self.dropped = Counter(
            "segops_training_dropped_total",
            "Profiles and decisions that the trainer dropped to stay within its limits.",
            ["what"],
            registry=registry,
        )
        self.profiles = Gauge(
            "segops_training_profiles", "Profiles that the trainer follows.", registry=registry
        )
        self.decisions = Gauge(
            "segops_training_decisions",
            "Decisions that the trainer keeps for a model: pending, or with a known outcome.",
            ["model", "state"],
            registry=registry,
        )
        self.lag = Gauge(
            "segops_training_lag_records",
            "Records that the trainer has not read yet.",
            ["partition"],
            registry=registry,
        )

    def _models(self, registry: CollectorRegistry) -> None:
        self.models = Counter(
            "segops_training_models_total",
            "Models that the trainer made, by their status; refused: a feature knew the future; "
            "kept: the one in force is better.",
            ["model", "status"],
            registry=registry,
        )
        self.calibration_error = Gauge(
            "segops_model_calibration_error",
            "Calibration error (ECE) of the model in force on the latest known day.",
            ["model"],
            registry=registry,
        )
        self.auc = Gauge(
            "segops_model_auc",
            "AUC of the model in force on the latest known day.",
            ["model"],
            registry=registry,
        )
        self.lift = Gauge(
            "segops_model_lift",
            "Lift of the highest tenth of predictions of the model in force on the latest known day.",
            ["model"],
            registry=registry,
        )
