"""Every metric: name, labels and help text. Names begin with ``segops_``; labels have bounded cardinality."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from segops.auxiliary_metrics import AuxiliaryMetrics, remove

_CHECKPOINT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LATENESS_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 10, 30, 60, 300)
_END_TO_END_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_CONVERGENCE_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.35, 0.5, 0.75, 1, 1.5, 2.5, 5, 10, 30, 60, 300)
_IDENTIFIERS_BUCKETS = (1, 2, 3, 4, 5, 7, 10, 15, 20, 50, 100)
_RECORDS_BUCKETS = (1, 10, 50, 100, 500, 1_000, 5_000, 10_000, 20_000, 50_000, 100_000)

#: Number of segments with their own label value; later ones share the value ``other``.
MAX_SEGMENTS = 1_000


class Metrics(AuxiliaryMetrics):
    """The metrics of one process, on the caller's registry.

    No label holds a profile id. The number of segment keys is bounded: use :meth:`segment` for the value.
    """

    def __init__(self, registry: CollectorRegistry, *, max_segments: int = MAX_SEGMENTS) -> None:
        super().__init__(registry)
        self._max_segments = max_segments
        self._segments: set[str] = set()
        self._paths: set[str] = set()
        self._input(registry)
        self._membership(registry)
        self._models(registry)
        self._alerts(registry)
        self._time(registry)
        self._durability(registry)
        self._state(registry)
        self._merging_and_splitting(registry)
        self._identity(registry)
        self.build = Info("segops_build", "The running version.", registry=registry)
        self.kernel = Info("segops_kernel", "Whether the kernel runs, or why not.", registry=registry)
        self.left_to_python = Counter(
            "segops_kernel_left_total",
            "Records and timers that the kernel left to Python, and questions that it asked, by reason.",
            ["reason"],
            registry=registry,
        )

    def _input(self, registry: CollectorRegistry) -> None:
        self.events_consumed = Counter(
            "segops_events_consumed_total",
            "Records consumed by a step (resolve, segment).",
            ["step"],
            registry=registry,
        )
        self.step_cpu_seconds = Counter(
            "segops_step_cpu_seconds_total",
            "CPU time a step (resolve, segment) spent on its records, excluding the Kafka client.",
            ["step"],
            registry=registry,
        )
        self.events_rejected = Counter(
            "segops_events_rejected_total", "Invalid input records.", ["reason"], registry=registry
        )
        self.dead_letters = Counter(
            "segops_dead_letters_total",
            "Records written to the dead-letter topic.",
            ["reason"],
            registry=registry,
        )
        self.duplicates = Counter(
            "segops_events_duplicate_total", "Events whose messageId was already applied.", registry=registry
        )
        self.late_events = Counter(
            "segops_events_late_total", "Events older than their partition's clock.", registry=registry
        )
        self.clamped_events = Counter(
            "segops_events_clamped_total",
            "Events too far in the future, clamped to their receivedAt or to the wall clock.",
            registry=registry,
        )
        self.events_mended = Counter(
            "segops_events_mended_total",
            "Malformed parts of events that were dropped or repaired, by kind.",
            ["kind"],
            registry=registry,
        )
        self.values_skipped = Counter(
            "segops_values_skipped_total",
            "Values that an aggregate or a trait condition could not read, by path and by what was found.",
            ["path", "found"],
            registry=registry,
        )

    def _membership(self, registry: CollectorRegistry) -> None:
        self.rule_failures = Counter(
            "segops_rule_failures_total",
            "Failed rule evaluations; the membership did not change.",
            ["segment"],
            registry=registry,
        )
        self.membership_changes = Counter(
            "segops_membership_changes_total",
            "Membership changes published.",
            ["segment", "action", "reason"],
            registry=registry,
        )
        self.segment_members = Gauge(
            "segops_segment_members", "Members in this worker's partitions.", ["segment"], registry=registry
        )
        self.profiles = Gauge(
            "segops_profiles",
            "Profiles in this worker's partitions, by activity.",
            ["activity"],
            registry=registry,
        )
        self.indicator_values = Counter(
            "segops_indicator_values_total",
            "Values of indicators published, and withdrawn when they are missing.",
            ["indicator"],
            registry=registry,
        )
        self.figures_published = Counter(
            "segops_figures_published_total",
            "Sizes, trends and populations of segments published.",
            registry=registry,
        )
        self.definitions_active = Gauge(
            "segops_definitions_active", "Active segment definitions.", registry=registry
        )
        self.quarantined = Counter(
            "segops_quarantined_total",
            "Stored or handed-over profiles that could not be read and were quarantined.",
            ["found_in"],
            registry=registry,
        )
        self.definitions_refused = Counter(
            "segops_definitions_refused_total",
            "Published definitions that could not be used; the previous definition of the key stays active.",
            registry=registry,
        )
        self.definitions_version = Info(
            "segops_definitions_version", "Identity of the active definitions.", registry=registry
        )

    def _models(self, registry: CollectorRegistry) -> None:
        self.model_version = Gauge(
            "segops_model_version",
            "Version of a scoring model in the active definitions.",
            ["model"],
            registry=registry,
        )
        self.model_ready = Gauge(
            "segops_model_ready",
            "1 if a scoring model gives scores; 0: fitted on too little, or no better than chance.",
            ["model"],
            registry=registry,
        )
        self.model_valid_until = Gauge(
            "segops_model_valid_until_seconds",
            "Instant until which a scoring model is valid, in seconds since 1970; none without one.",
            ["model"],
            registry=registry,
        )
        self.scorer_failures = Counter(
            "segops_scorer_failures_total",
            "Failures of scorers of your own: errors, results that are no finite number, broken promises.",
            ["scorer"],
            registry=registry,
        )

    def _alerts(self, registry: CollectorRegistry) -> None:
        self.alerts_firing = Gauge(
            "segops_alerts_firing", "Firing alerts, on the evaluating worker.", ["segment"], registry=registry
        )
        self.alert_crossings = Counter(
            "segops_alert_crossings_total",
            "Alerts that began to fire, recovered or were withdrawn.",
            ["segment", "action"],
            registry=registry,
        )
        self.alerts_evaluated = Gauge(
            "segops_alerts_evaluated_seconds",
            "Instant up to which this worker has evaluated the alerts, in seconds since 1970; else 0.",
            registry=registry,
        )

    def _time(self, registry: CollectorRegistry) -> None:
        self.timers_fired = Counter(
            "segops_timers_fired_total", "Profiles evaluated because time passed.", registry=registry
        )
        self.timer_lateness = Histogram(
            "segops_timer_lateness_seconds",
            "Time from when a timer was due until it fired.",
            buckets=_LATENESS_BUCKETS,
            registry=registry,
        )
        self.end_to_end = Histogram(
            "segops_end_to_end_seconds",
            "Time from an event's arrival on Kafka until its membership change is published.",
            buckets=_END_TO_END_BUCKETS,
            registry=registry,
        )
        self.clock_jumps = Counter(
            "segops_wall_clock_jumps_total",
            "Wall-clock jumps of at least five seconds on this machine.",
            ["direction"],
            registry=registry,
        )
        self.partition_clock = Gauge(
            "segops_partition_clock_seconds",
            "Current time of a partition's clock, in seconds since 1970.",
            ["partition"],
            registry=registry,
        )
        self.backfill_records = Counter(
            "segops_backfill_records_total",
            "Past records read for the history of new segments.",
            registry=registry,
        )
        self.backfill_left = Gauge(
            "segops_backfill_records_left",
            "Past records that are still to be read for the history of new segments.",
            ["partition"],
            registry=registry,
        )

    def _durability(self, registry: CollectorRegistry) -> None:
        self.checkpoint_seconds = Histogram(
            "segops_checkpoint_seconds",
            "Duration of a checkpoint.",
            buckets=_CHECKPOINT_BUCKETS,
            registry=registry,
        )
        self.checkpoint_records = Histogram(
            "segops_checkpoint_records",
            "Input records made durable by a checkpoint.",
            buckets=_RECORDS_BUCKETS,
            registry=registry,
        )
        self.consumer_lag = Gauge(
            "segops_consumer_lag_records",
            "Records not yet processed.",
            ["topic", "partition"],
            registry=registry,
        )
        self.records_lost = Counter(
            "segops_records_lost_total",
            "Records deleted from a topic before they were read.",
            ["topic"],
            registry=registry,
        )

    def _state(self, registry: CollectorRegistry) -> None:
        self.recovery_records = Counter(
            "segops_recovery_records_total", "Changelog records restored into the store.", registry=registry
        )
        self.partitions_recovering = Gauge(
            "segops_partitions_recovering", "Partitions being restored.", registry=registry
        )
        self.stores_rebuilt = Counter(
            "segops_stores_rebuilt_total",
            "Stores discarded and rebuilt from the changelog because they were damaged or ahead of it.",
            ["reason"],
            registry=registry,
        )
        self.standby_lag = Gauge(
            "segops_standby_lag_records",
            "Changelog records not yet applied to a standby store.",
            ["partition"],
            registry=registry,
        )
        self.standby_records = Counter(
            "segops_standby_records_total", "Changelog records applied to standby stores.", registry=registry
        )
        self.broker_connected = Gauge(
            "segops_broker_connected",
            "1 while this worker is connected to its brokers, 0 while it waits for one.",
            registry=registry,
        )
        self.reopenings = Counter(
            "segops_reopenings_total",
            "Times this process discarded all work since its last checkpoint and reconnected.",
            registry=registry,
        )
        self.profiles_cached = Gauge("segops_profiles_cached", "Profiles in memory.", registry=registry)
        self.scans_pending = Gauge(
            "segops_scans_pending",
            "Scans that run or wait, summed over this worker's partitions.",
            registry=registry,
        )
        self.profiles_scanned = Counter(
            "segops_profiles_scanned_total", "Profiles visited by scans.", registry=registry
        )

    def _merging_and_splitting(self, registry: CollectorRegistry) -> None:
        self.splits = Counter(
            "segops_splits_total", "Profiles separated again after a merge.", registry=registry
        )
        self.handovers_returned = Counter(
            "segops_handovers_returned_total",
            "Profiles not merged because the result would exceed SEGOPS_MAX_STATE_BYTES.",
            registry=registry,
        )
        self.events_not_held = Counter(
            "segops_events_not_held_total",
            "Events applied before their profile was complete, because too many were already held.",
            registry=registry,
        )

    def _identity(self, registry: CollectorRegistry) -> None:
        self.merges = Counter("segops_merges_total", "Profiles merged into others.", registry=registry)
        self.identity_conflicts = Counter(
            "segops_identity_conflicts_total",
            "Identifiers not linked to a known user because they belong to another user.",
            registry=registry,
        )
        self.identity_limits = Counter(
            "segops_identity_limits_total",
            "Identifiers beyond the limit of their type: not linked, or brought by a merged profile.",
            registry=registry,
        )
        self.redirects_followed = Counter(
            "segops_redirects_followed_total",
            "Events and messages forwarded to the profile that theirs was merged into.",
            registry=registry,
        )
        self.identifiers = Histogram(
            "segops_profile_identifiers",
            "Identifiers of a profile, observed each time its claims are answered.",
            buckets=_IDENTIFIERS_BUCKETS,
            registry=registry,
        )
        self.convergence = Histogram(
            "segops_merge_convergence_seconds",
            "Time from a profile's first claim until it is complete.",
            buckets=_CONVERGENCE_BUCKETS,
            registry=registry,
        )
        self.profiles_waiting = Gauge(
            "segops_profiles_waiting", "Profiles waiting for answers to claims.", registry=registry
        )
        self.erasures = Counter("segops_erasures_total", "Erased profiles and redirects.", registry=registry)
        #: Counter name of the core -> its metric.
        self.identities = {
            "merged": self.merges,
            "conflict": self.identity_conflicts,
            "limit": self.identity_limits,
            "overflow": self.identity_limits,
            "relayed": self.redirects_followed,
            "unheld": self.events_not_held,
            "erased": self.erasures,
            "split": self.splits,
            "returned": self.handovers_returned,
        }

    def segment(self, key: str) -> str:
        """Return the label value of a segment: its key, or ``other`` beyond the limit.

        >>> metrics = Metrics(CollectorRegistry(), max_segments=1)
        >>> metrics.segment("first"), metrics.segment("second"), metrics.segment("first")
        ('first', 'other', 'first')
        """
        return self._bounded(key, self._segments)

    def path(self, path: str) -> str:
        """Return the label value of an event path, bounded like that of a segment."""
        return self._bounded(path, self._paths)

    def _bounded(self, value: str, known: set[str]) -> str:
        if value not in known:
            if len(known) >= self._max_segments:
                return "other"
            known.add(value)
        return value

    def forget_partition(self, partition: int, *topics: str) -> None:
        """Drop the gauges of a partition that this process no longer owns."""
        for gauge in (self.partition_clock, self.backfill_left):
            remove(gauge, str(partition))
        for topic in topics:
            remove(self.consumer_lag, topic, str(partition))

    def forget_standby(self, partition: int) -> None:
        """Drop the gauge of a partition that this process is no longer a standby for."""
        remove(self.standby_lag, str(partition))
