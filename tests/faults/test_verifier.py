"""The verifier detects deliberately broken workers, on a real broker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from segops.brokers import LocalBroker
from segops.schemas.alerts import EVALUATED_KEY
from tests.rest import in_rest, rest

from .auxiliaries import alerted_text
from .cluster import Case, Plan
from .facts import Facts, Finding
from .load import Shape, earlier_text, segment_text
from .sizes import sizes_and_alerts_are_exact

pytestmark = pytest.mark.broker

SHAPE = Shape(events=160, users=8, per_second=200.0)
LOGINS = replace(SHAPE, logins=True)


def findings_after(
    broker: LocalBroker, folder: Path, act: Callable[[Case], None], shape: Shape = SHAPE, **options: Any
) -> list[Finding]:
    """Return the findings after ``act`` under a small load. ``options`` are of ``Plan``."""
    case = Case(Plan(broker, folder, seed=1, partitions=2, shape=shape, **options))
    try:
        case.open()
        act(case)
        case.settle()
        return case.findings()
    finally:
        case.close()


def run_broken_worker(kind: str) -> Callable[[Case], None]:
    def act(case: Case) -> None:
        sabotage = {"FAULTS_SABOTAGE": kind, "FAULTS_ONCE": str(case.cluster.folder / "once")}
        case.start(0, **sabotage)
        case.load.start()
        case.wait_crashed(0)
        case.start(0, **sabotage)

    return act


@pytest.mark.parametrize(
    ("kind", "checks"),
    [in_rest("commit_first", {"I1", "I3"}), in_rest("no_flush", {"I3"}), ("apply_twice", {"I1"})],
)
def test_verifier_detects_a_broken_worker(
    broker: LocalBroker, tmp_path: Path, kind: str, checks: set[str]
) -> None:
    found = findings_after(broker, tmp_path, run_broken_worker(kind))
    assert checks <= {finding.check for finding in found}, found


@pytest.mark.parametrize("kind", ["lose_handover", in_rest("lose_held")])
def test_verifier_detects_a_broken_merge(broker: LocalBroker, tmp_path: Path, kind: str) -> None:
    def act(case: Case) -> None:
        case.start(0, FAULTS_SABOTAGE=kind, FAULTS_ONCE=str(case.cluster.folder / "once"))
        case.load.start()

    found = findings_after(broker, tmp_path, act, LOGINS)
    assert (tmp_path / "once").exists()
    assert ("I9", "lost") in {(finding.check, finding.kind) for finding in found}, found


@rest
def test_verifier_detects_lost_history(broker: LocalBroker, tmp_path: Path) -> None:
    def act(case: Case) -> None:
        case.start(0, FAULTS_SABOTAGE="lose_rows", FAULTS_ONCE=str(case.cluster.folder / "once"))
        case.load.start()
        case.load.wait_sent(100)
        case.wait_caught_up()
        case.publish(segment_text(case.plan.clock))
        case.wait_in_force()

    found = findings_after(broker, tmp_path, act, segments=earlier_text)
    assert (tmp_path / "once").exists()
    assert {"I1", "I3"} <= {finding.check for finding in found}, found


@rest
def test_verifier_detects_wrong_sizes_and_repeated_alerts(broker: LocalBroker, tmp_path: Path) -> None:
    case = Case(Plan(broker, tmp_path, seed=1, partitions=2, shape=SHAPE, segments=alerted_text))
    case.circumstances.sizes = True
    try:
        case.open()
        case.start(0)
        case.wait_ready(0)
        case.load.start()
        case.settle()
        evidence = case.evidence()
    finally:
        case.close()
    topics = evidence.settings.topics

    def found_with(topic: str, change: Callable[[list[Any]], list[Any]]) -> set[str]:
        records = evidence.visible[topic, 0]
        visible = {**evidence.visible, (topic, 0): change(records)}
        facts = Facts(replace(evidence, visible=visible))
        return {finding.kind for finding in sizes_and_alerts_are_exact(facts)}

    assert found_with(topics.sizes, list) == set()
    assert found_with(topics.sizes, lambda records: []) == {"lost"}
    assert found_with(topics.membership_changes, lambda records: records[:-1]) == {"wrong"}
    assert found_with(topics.trends, lambda records: records[:10]) >= {"wrong"}
    crossings = [each for each in evidence.visible[topics.alerts, 0] if each.key != EVALUATED_KEY]
    assert "duplicated" in found_with(topics.alerts, lambda records: [*records, crossings[-1]])


def test_verifier_accepts_a_correct_worker(broker: LocalBroker, tmp_path: Path) -> None:
    def act(case: Case) -> None:
        case.start(0, crash_at="after_changelog_ack:4")
        case.load.start()
        case.wait_crashed(0)
        case.start(0)

    assert findings_after(broker, tmp_path, act) == []
