"""``segops segments``, ``pause``, ``resume`` and ``retire``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segops.kafka.definitions import DefinitionLog
from segops.operations.segments import overview

Run = Callable[..., Any]


def test_overview_names_states_and_dependants() -> None:
    log = DefinitionLog()
    for key, rest in {
        "base": {"when": {"did": "A"}, "paused": True},
        "user": {"when": {"in_segment": "base"}},
        "lost": {"when": {"in_segment": "unknown"}},
        "old": {"retired": True},
    }.items():
        log.apply(key.encode(), json.dumps({"key": key, "version": 1, **rest}).encode())
    found = {each.key: each for each in overview(log)}
    assert list(found) == ["base", "lost", "old", "user"]
    assert {key: each.state for key, each in found.items()} == {
        "base": "paused",
        "lost": "left out",
        "old": "retired",
        "user": "live",
    }
    assert found["base"].used_by == ("user",)
    assert found["lost"].reason == "in_segment: unknown segment unknown"


@pytest.mark.broker
def test_segments_are_paused_resumed_listed_and_retired(segops: Run, settings: Any, tmp_path: Path) -> None:
    assert settings.topics.partitions == 3
    segops("topics", "create")
    file = tmp_path / "shop.yaml"
    file.write_text(
        "version: 1\nsegments: [{key: buyers, when: {did: Order Completed}}, "
        "{key: others, when: {not: {in_segment: buyers}}}]\n"
    )
    segops("apply", file)
    assert segops("pause", "buyers").out.splitlines() == ["~ buyers  version 1  paused", "1 paused"]
    assert segops("apply", file).out.splitlines()[-1] == "2 unchanged"
    listed = [line.split() for line in segops("segments").out.splitlines()]
    assert listed[1:] == [["buyers", "1", "paused", "others", "buyers"], ["others", "1", "live", "others"]]
    assert segops("resume", "buyers").out.splitlines() == ["~ buyers  version 1  resumed", "1 resumed"]
    refused = segops("retire", "buyers")
    assert (refused.status, refused.out) == (2, "")
    assert "cannot retire 'buyers': used by others (in_segment)" in refused.err
    assert segops("retire", "buyers", "others").out.splitlines()[-1] == "2 retired"
    assert len(segops("segments").out.splitlines()) == 1
    found = [json.loads(line) for line in segops("segments", "--all", "--format", "jsonl").out.splitlines()]
    assert [(each["key"], each["state"]) for each in found] == [("buyers", "retired"), ("others", "retired")]
    unknown = segops("pause", "nothing")
    assert (unknown.status, unknown.err.count("no such segment is published")) == (2, 1)
