"""Plans in one partition, without Kafka: by the definitions in force, or not at all."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from segops.schemas.scans import BEHIND, DONE, PlanRequest, decode_result
from segops.schemas.segments import definition_to_record, inline
from segops.streaming.partition import scans

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
