"""Plans in one partition, without Kafka: by the definitions in force, or not at all."""

from __future__ import annotations

from itertools import count, islice
from typing import Any

import msgspec
import pytest

from segops.core.scans import FOLLOWED_SHARE, Flapping, in_sample
from segops.schemas.scans import BEHIND, DONE, RUNNING, Cancel, PlanRequest, Watch, decode_result
from segops.schemas.segments import definition_to_record, inline
from segops.streaming import backfills
from segops.streaming.partition import scans
from segops.streaming.partition.backfill.adoption import DraftSet

from .fakes import FakeRecord
from .test_scan_jobs import FORMS, Partition, engine_of, request


@pytest.fixture
def slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scans, "SLICE", 2)
    monkeypatch.setattr(scans, "_SHARE_S", -1.0)


def plan_request(base: str, *forms: dict[str, Any], removed: tuple[str, ...] = ()) -> PlanRequest:
    records = tuple(msgspec.Raw(definition_to_record(each)) for each in inline(forms, "test", "segments"))
    return PlanRequest(base, records, removed)


THREE = {"key": "fans", "when": {"did": "Viewed", "count": {"gte": 3}, "within": "6h"}}


def test_plan_counts_by_the_definitions_after_the_edit() -> None:
    partition = Partition()
    for number in range(5):
        partition.view(f"u{number}", times=1 + number)
    before = partition.states()
    ask = plan_request(engine_of().version, THREE, removed=("viewers",))
    partition.send(request("s", ask))
    partition.scan()
    assert partition.answer.state == DONE, partition.answer.reason
    found = decode_result(ask, partition.answer.result).segments
    assert {key: (each.members, each.entering, each.leaving) for key, each in found.items()} == {
        "fans": (4, 0, 1),
        "viewers": (5, 0, 5),
    }
    assert partition.states() == before


def test_plan_of_definitions_that_are_not_in_force_is_not_answered_with_numbers() -> None:
    partition = Partition()
    partition.send(request("s", plan_request("another", THREE)))
    partition.scan()
    assert (partition.answer.state, partition.answer.reason) == (
        BEHIND,
        "the published definitions are not in force yet (they may wait for history)",
    )


@pytest.mark.usefixtures("slices")
def test_plan_ends_when_new_definitions_come_into_force() -> None:
    partition = Partition()
    for number in range(5):
        partition.view(f"u{number}", times=2)
    partition.send(request("s", plan_request(engine_of().version, THREE)))
    assert partition.processor.scans.work(3, 0)
    partition.processor.use(engine_of(FORMS[0]))
    partition.checkpoint()
    partition.work_off()
    partition.scan()
    assert [answer.state for answer in partition.output.answers] == [BEHIND]


FOUR = {"key": "fans", "when": {"did": "Viewed", "count": {"gte": 4}, "within": "9h"}}


def drafted() -> DraftSet:
    return DraftSet("plan", engine_of(FORMS[0], FOUR), 0)


def collect(partition: Partition) -> None:
    """Read the history of the draft, and take the announcements of the one partition there is."""
    backfill = partition.processor.backfill
    while (gap := backfill.gap) is not None:
        assert backfill.read((), *gap, since_ms=None)
    sent = 0
    while not backfill.has_history_for("plan"):
        partition.processor.work_backfill(10)
        for each in partition.output.forwarded[sent:]:
            partition.send(FakeRecord(0, None, each.value, each.headers))
            sent += 1


def test_plan_of_a_draft_waits_for_history_and_others_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scans, "_PROGRESS_S", -1.0)
    partition = Partition()
    for number in range(5):
        partition.view(f"u{number}", times=1 + number)
    ask = msgspec.structs.replace(plan_request(engine_of().version, FOUR), draft="plan")
    partition.send(request("s", ask), request("other"))
    partition.processor.use(engine_of(), drafted())
    partition.scan()
    found = {answer.scan: answer for answer in partition.output.answers}
    assert (found["s"].state, found["other"].state) == (RUNNING, DONE)
    assert 0 == found["s"].read < found["s"].total
    collect(partition)
    partition.send(request("s", ask))  # a repetition
    partition.scan()
    assert (partition.answer.scan, partition.answer.state) == ("s", DONE), partition.answer
    (fans,) = decode_result(ask, partition.answer.result).segments.values()
    assert (fans.lacking, fans.waits) == (["count of Viewed within 9h"], False)
    partition.scan()
    assert partition.processor.scans.pending == 0


@pytest.mark.usefixtures("slices")
def test_plan_of_a_draft_that_is_given_up_waits_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scans, "_PROGRESS_S", -1.0)
    partition = Partition()
    for number in range(5):
        partition.view(f"u{number}")
    ask = msgspec.structs.replace(plan_request(engine_of().version, FOUR), draft="plan")
    partition.processor.use(engine_of(), drafted())
    collect(partition)
    partition.send(request("s", ask))
    partition.processor.scans.work(3, 0)
    partition.processor.use(engine_of(), None)
    assert not partition.processor.scans.work(3, 0)
    assert (partition.answer.state, partition.processor.scans.pending) == (RUNNING, 1)


def test_draft_is_collected_until_it_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    partition = Partition()
    known, draft = {0: partition.processor}, drafted()._replace(until_ms=1_000)
    monkeypatch.setattr(backfills, "wall_ms", lambda: 999)
    assert backfills.is_behind(known, engine_of(), draft)
    backfills.adopt(known, engine_of(), draft)
    assert partition.processor.backfill.draft == ("plan", draft.engine.version)
    assert not backfills.is_behind(known, engine_of(), draft)
    monkeypatch.setattr(backfills, "wall_ms", lambda: 1_000)
    assert backfills.is_behind(known, engine_of(), draft)
    backfills.adopt(known, engine_of(), draft)
    assert partition.processor.backfill.draft is None


# -- watches ----------------------------------------------------------------------------------------------


def followed(partition: Partition, scan: str, watch: Watch) -> Flapping:
    """Repeat a plan of ``THREE``, and return what the sample did so far."""
    ask = msgspec.structs.replace(plan_request(engine_of().version, THREE), watch=watch)
    partition.send(request(scan, ask))
    partition.scan()
    assert partition.answer.state == DONE, partition.answer.reason
    found: Flapping | None = decode_result(ask, partition.answer.result).flapping
    assert found is not None
    return found


def sampled(number: int) -> list[str]:
    """Return users whose profiles belong to the sample."""
    names = (f"u{n}" for n in count())
    return list(islice((each for each in names if in_sample(f"user_id:{each}", FOLLOWED_SHARE)), number))


def test_sample_is_followed_from_one_plan_to_the_next_until_the_watch_ends() -> None:
    partition, (ann, bob) = Partition(), sampled(2)
    partition.view(ann, times=3)
    partition.view("another", times=3)
    watch = Watch("w", FOLLOWED_SHARE)
    first = followed(partition, "s1", watch)
    assert (first.profiles, first.repeats, first.segments["fans"].members) == (1, 1, 1)
    partition.view(bob, times=3)
    before = partition.states()
    second = followed(partition, "s2", watch)
    assert (second.profiles, second.repeats, second.segments["fans"].changes) == (2, 2, 1)
    assert partition.states() == before
    assert followed(partition, "s3", Watch("other", FOLLOWED_SHARE)).repeats == 1
    assert followed(partition, "s4", watch).repeats == 3
    partition.send(request("w", Cancel()))
    assert followed(partition, "s5", watch).repeats == 1


def test_plan_without_a_watch_follows_nothing() -> None:
    partition = Partition()
    ask = plan_request(engine_of().version, THREE)
    partition.send(request("s", ask))
    partition.scan()
    assert decode_result(ask, partition.answer.result).flapping is None


@pytest.mark.parametrize(("name", "share"), [("", 0.01), ("x" * 201, 0.01), ("w", 0.0), ("w", 0.011)])
def test_watch_is_bounded(name: str, share: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        Watch(name, share)
