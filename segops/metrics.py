"""Every metric: name, labels, help. ``segops_*``, base units, labels that cannot grow without bound."""

from __future__ import annotations

import contextlib

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

_CHECKPOINT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LATENESS_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 10, 30, 60, 300)
_END_TO_END_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_CONVERGENCE_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.35, 0.5, 0.75, 1, 1.5, 2.5, 5, 10, 30, 60, 300)
_IDENTIFIERS_BUCKETS = (1, 2, 3, 4, 5, 7, 10, 15, 20, 50, 100)
_RECORDS_BUCKETS = (1, 10, 50, 100, 500, 1_000, 5_000, 10_000, 20_000, 50_000, 100_000)

#: Segments with a label value of their own; those met later share the value ``other``.
MAX_SEGMENTS = 1_000


class Metrics:
    """The metrics of one process, on a registry of the caller's.

    No label ever holds a profile's id. Segment keys are bounded: use :meth:`segment` for the value.
    """

    def __init__(self, registry: CollectorRegistry, *, max_segments: int = MAX_SEGMENTS) -> None:
        self.registry = registry
        self._max_segments = max_segments
        self._segments: set[str] = set()
        self._paths: set[str] = set()
        self._input(registry)
        self._membership(registry)
        self._time(registry)
        self._durability(registry)
        self._state(registry)
        self._joining_and_parting(registry)
        self._identity(registry)
        self.build = Info("segops_build", "The running version.", registry=registry)

    def _input(self, registry: CollectorRegistry) -> None:
        self.events_consumed = Counter(
            "segops_events_consumed_total",
            "Records taken from the topics that a step reads (resolve, segment).",
            ["step"],
            registry=registry,
        )
        self.step_cpu_seconds = Counter(
            "segops_step_cpu_seconds_total",
            "Processor time that a step (resolve, segment) took for its records, without Kafka's client.",
            ["step"],
            registry=registry,
        )
        self.events_rejected = Counter(
            "segops_events_rejected_total", "Input that is no event.", ["reason"], registry=registry
        )
        self.dead_letters = Counter(
            "segops_dead_letters_total", "Records written to the dead letters.", ["reason"], registry=registry
        )
        self.duplicates = Counter(
            "segops_events_duplicate_total", "Events whose messageId had been applied.", registry=registry
        )
        self.late_events = Counter(
            "segops_events_late_total", "Events older than their partition's clock.", registry=registry
        )
        self.clamped_events = Counter(
            "segops_events_clamped_total",
            "Events too far ahead, moved to their receivedAt or to the wall clock.",
            registry=registry,
        )
        self.events_mended = Counter(
            "segops_events_mended_total",
            "Odd parts of events that were left out or mended, by kind.",
            ["kind"],
            registry=registry,
        )
        self.values_skipped = Counter(
            "segops_values_skipped_total",
            "Values that an aggregate or a test of a trait could not read, by path and what was found there.",
            ["path", "found"],
            registry=registry,
        )

    def _membership(self, registry: CollectorRegistry) -> None:
        self.rule_failures = Counter(
            "segops_rule_failures_total",
            "Evaluations that failed; the membership was kept.",
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
        self.definitions_active = Gauge(
            "segops_definitions_active", "Segment definitions in force.", registry=registry
        )
        self.quarantined = Counter(
            "segops_quarantined_total",
            "Stored profiles, and profiles handed over, that could not be read and were set aside.",
            ["found_in"],
            registry=registry,
        )
        self.definitions_refused = Counter(
            "segops_definitions_refused_total",
            "Published definitions that could not be used: the former of their key stays in force.",
            registry=registry,
        )
        self.definitions_version = Info(
            "segops_definitions_version", "Identity of the definitions in force.", registry=registry
        )

    def _time(self, registry: CollectorRegistry) -> None:
        self.timers_fired = Counter(
            "segops_timers_fired_total", "Profiles judged because time passed.", registry=registry
        )
        self.timer_lateness = Histogram(
            "segops_timer_lateness_seconds",
            "From the instant a timer was due to when it was worked off.",
            buckets=_LATENESS_BUCKETS,
            registry=registry,
        )
        self.end_to_end = Histogram(
            "segops_end_to_end_seconds",
            "From an event's arrival on Kafka to its membership change published.",
            buckets=_END_TO_END_BUCKETS,
            registry=registry,
        )
        self.clock_jumps = Counter(
            "segops_wall_clock_jumps_total",
            "Jumps of this machine's wall clock of more than five seconds.",
            ["direction"],
            registry=registry,
        )
        self.partition_clock = Gauge(
            "segops_partition_clock_seconds",
            "Time that a partition has reached, as seconds since 1970.",
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
            "Records that were deleted before they were read.",
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
            "Stores thrown away and rebuilt from the changelog: damaged, or ahead of it.",
            ["reason"],
            registry=registry,
        )
        self.standby_lag = Gauge(
            "segops_standby_lag_records",
            "Changelog records that a standby's store does not have yet.",
            ["partition"],
            registry=registry,
        )
        self.standby_records = Counter(
            "segops_standby_records_total", "Changelog records applied to standby stores.", registry=registry
        )
        self.broker_connected = Gauge(
            "segops_broker_connected",
            "1 while this worker has its brokers, 0 while it waits for one.",
            registry=registry,
        )
        self.reopenings = Counter(
            "segops_reopenings_total",
            "Times that this process gave all up since its last checkpoint and opened again.",
            registry=registry,
        )
        self.profiles_cached = Gauge(
            "segops_profiles_cached", "Decoded profiles kept in memory.", registry=registry
        )

    def _joining_and_parting(self, registry: CollectorRegistry) -> None:
        self.splits = Counter(
            "segops_splits_total", "Profiles that are their own again after a merge.", registry=registry
        )
        self.handovers_returned = Counter(
            "segops_handovers_returned_total",
            "Profiles not merged because together they would be larger than SEGOPS_MAX_STATE_BYTES.",
            registry=registry,
        )
        self.events_not_held = Counter(
            "segops_events_not_held_total",
            "Events applied before their profile was whole: too many were held already.",
            registry=registry,
        )

    def _identity(self, registry: CollectorRegistry) -> None:
        self.merges = Counter("segops_merges_total", "Profiles taken over by others.", registry=registry)
        self.identity_conflicts = Counter(
            "segops_identity_conflicts_total",
            "Identifiers not joined with a known user, because they belong to another.",
            registry=registry,
        )
        self.identity_limits = Counter(
            "segops_identity_limits_total",
            "Identifiers beyond the limit of their type: not joined, or come with a profile taken over.",
            registry=registry,
        )
        self.redirects_followed = Counter(
            "segops_redirects_followed_total",
            "Events and messages sent on to the profile that took theirs over.",
            registry=registry,
        )
        self.identifiers = Histogram(
            "segops_profile_identifiers",
            "Identifiers of a profile, each time that it has claimed some and has the answers.",
            buckets=_IDENTIFIERS_BUCKETS,
            registry=registry,
        )
        self.convergence = Histogram(
            "segops_merge_convergence_seconds",
            "From a profile's first claim to its being whole.",
            buckets=_CONVERGENCE_BUCKETS,
            registry=registry,
        )
        self.profiles_waiting = Gauge(
            "segops_profiles_waiting", "Profiles that await answers to claims.", registry=registry
        )
        self.erasures = Counter(
            "segops_erasures_total", "Profiles and redirects that were erased.", registry=registry
        )
        #: What the core counts -> the metric of it.
        self.identities = {
            "joined": self.merges,
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
        """The label value of a segment: its key, or ``other`` past the bound.

        >>> metrics = Metrics(CollectorRegistry(), max_segments=1)
        >>> metrics.segment("first"), metrics.segment("second"), metrics.segment("first")
        ('first', 'other', 'first')
        """
        return self._bounded(key, self._segments)

    def path(self, path: str) -> str:
        """The label value of a path in events, bounded like that of a segment."""
        return self._bounded(path, self._paths)

    def _bounded(self, value: str, known: set[str]) -> str:
        if value in known:
            return value
        if len(known) >= self._max_segments:
            return "other"
        known.add(value)
        return value

    def forget_partition(self, partition: int, *topics: str) -> None:
        """Drop the gauges of a partition that this process no longer owns."""
        _remove(self.partition_clock, str(partition))
        for topic in topics:
            _remove(self.consumer_lag, topic, str(partition))

    def forget_standby(self, partition: int) -> None:
        """Drop the gauge of a partition that this process is no standby for."""
        _remove(self.standby_lag, str(partition))


def _remove(gauge: Gauge, *labels: str) -> None:
    with contextlib.suppress(KeyError):  # never set
        gauge.remove(*labels)
