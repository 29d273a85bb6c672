"""The verifier detects deliberately broken workers, on a real broker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from segops.archive.manifest import folder_of
from segops.brokers import LocalBroker
from segops.schemas.alerts import EVALUATED_KEY
from segops.schemas.changes import decode_change
from segops.schemas.records import FROM_HEADER
from tests.rest import in_rest, rest
from tests.streaming.archives import Archives

from . import auxiliaries, plans
from .auxiliaries import ERASED, alerted_text
from .cluster import Case, Plan
from .evidence import Evidence
from .facts import Facts, Finding
from .load import Shape, earlier_text, segment_text
from .sizes import sizes_and_alerts_are_exact

pytestmark = pytest.mark.broker

SHAPE = Shape(events=160, users=8, per_second=200.0)
LOGINS = replace(SHAPE, logins=True)


#: Changes the records of a partition.
Alteration = Callable[[list[Any]], list[Any]]


@contextmanager
def settled(
    broker: LocalBroker, folder: Path, act: Callable[[Case], None], shape: Shape = SHAPE, **options: Any
) -> Iterator[Case]:
    """Yield a case after ``act`` under a small load. ``options`` are of ``Plan``."""
    case = Case(Plan(broker, folder, seed=1, partitions=2, shape=shape, **options))
    try:
        case.open()
        act(case)
        case.settle()
        yield case
    finally:
        case.close()


def findings_after(
    broker: LocalBroker, folder: Path, act: Callable[[Case], None], shape: Shape = SHAPE, **options: Any
) -> list[Finding]:
    """Return the findings after ``act`` under a small load. ``options`` are of ``Plan``."""
    with settled(broker, folder, act, shape, **options) as case:
        return case.findings()


def altered(evidence: Evidence, topic: str, change: Alteration) -> Facts:
    """Return the facts as if the partitions of a topic had other records."""
    others = {at: change(records) for at, records in evidence.visible.items() if at[0] == topic}
    return Facts(replace(evidence, visible={**evidence.visible, **others}))


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
    def act(case: Case) -> None:
        case.circumstances.sizes = True
        case.start(0)
        case.wait_ready(0)
        case.load.start()

    with settled(broker, tmp_path, act, segments=alerted_text) as case:
        evidence = case.evidence()
    topics = evidence.settings.topics

    def found_with(topic: str, change: Alteration) -> set[str]:
        facts = altered(evidence, topic, change)
        return {finding.kind for finding in sizes_and_alerts_are_exact(facts)}

    assert found_with(topics.sizes, list) == set()
    assert found_with(topics.sizes, lambda records: []) == {"lost"}
    assert found_with(topics.membership_changes, lambda records: records[:-1]) == {"wrong"}
    assert found_with(topics.trends, lambda records: records[:10]) >= {"wrong"}
    crossings = [each for each in evidence.visible[topics.alerts, 0] if each.key != EVALUATED_KEY]
    assert "duplicated" in found_with(topics.alerts, lambda records: [*records, crossings[-1]])


@rest
def test_verifier_detects_what_collector_sources_and_archive_lose_or_repeat(
    broker: LocalBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with settled(broker, tmp_path, auxiliaries.killed, segments=alerted_text) as case:
        evidence, checks = case.evidence(), case.circumstances.more_checks
        topic = evidence.settings.topics.events
        sent = next(each for each in evidence.all_of(topic) if _message_id(each) == "s1-0")
        copied = next(each for each in evidence.all_of(topic) if FROM_HEADER in dict(each.headers))

        def found(check: str, change: Alteration = list) -> list[tuple[str, str]]:
            findings = checks[check](altered(evidence, topic, change))
            return [(finding.kind, finding.text) for finding in findings if finding.check == "I14"]

        assert found("acknowledged") == found("copied") == found("archived") == []
        assert found("acknowledged", lambda records: _without(records, _message_id, sent)) == [
            ("lost", "the acknowledged event s1-0 was not written")
        ]
        assert [kind for kind, _ in found("copied", lambda records: _without(records, id, copied))] == [
            "lost"
        ]
        assert {kind for kind, _ in found("copied", lambda records: [*records, copied])} == {"duplicated"}
        held = Archives.held
        for wrong in (lambda records: records[1:], lambda records: [*records[:1], *records]):
            monkeypatch.setattr(Archives, "held", lambda each, name, wrong=wrong: wrong(held(each, name)))
            assert ["differs from the topic" in text for _, text in found("archived")] == [True, True]
        monkeypatch.undo()
        topics = evidence.settings.topics
        (tmp_path / "archive" / folder_of(topics.profile_events, 0) / "left").write_text(f"user_id:{ERASED}")
        left, problem = (text for _, text in found("archived"))
        assert left == f"{ERASED} is still in the archive" and "has problems" in problem


def _message_id(record: Any) -> Any:
    return json.loads(record.value).get("messageId") if record.value else None


def _without(records: list[Any], feature: Callable[[Any], Any], one: Any) -> list[Any]:
    """Return the records but those that are like one in a feature."""
    return [each for each in records if feature(each) != feature(one)]


@rest
def test_verifier_detects_an_edit_that_moves_other_members_than_planned(
    broker: LocalBroker, tmp_path: Path
) -> None:
    with settled(broker, tmp_path, plans.disturbed, LOGINS, segments=earlier_text) as case:
        evidence, check = case.evidence(), case.circumstances.more_checks["plan"]
    topic = evidence.settings.topics.membership_changes

    def found(reason: str, other: str) -> list[tuple[str, str]]:
        """Return the findings if the last change for a reason in each partition had another one."""

        def change(records: list[Any]) -> list[Any]:
            last = [each for each in records if decode_change(each.value).reason == reason][-1:]
            claimed = [_for_reason(each, other) for each in last]
            ids = {decode_change(each.value).change_id for each in last}
            return [*(each for each in records if decode_change(each.value).change_id not in ids), *claimed]

        return [(each.check, each.kind) for each in check(altered(evidence, topic, change))]

    assert found("none", "none") == []
    assert found("definition", "event") == found("event", "definition") == [("I15", "wrong")]


def _for_reason(record: Any, reason: str) -> Any:
    change = decode_change(record.value)
    change.reason = reason
    return replace(record, value=msgspec.json.encode(change))


def test_verifier_accepts_a_correct_worker(broker: LocalBroker, tmp_path: Path) -> None:
    def act(case: Case) -> None:
        case.start(0, crash_at="after_changelog_ack:4")
        case.load.start()
        case.wait_crashed(0)
        case.start(0)

    assert findings_after(broker, tmp_path, act) == []
