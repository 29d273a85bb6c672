"""``segops apply``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segops import config
from segops.kafka.definitions import read

pytestmark = pytest.mark.broker

Run = Callable[..., Any]

BUYERS = "{key: buyers, when: {did: Order Completed}}"
VIEWERS = "{key: viewers, when: {did: Product Viewed, count: {gte: 3}, within: 48h}}"
MANY_VIEWERS = "{key: viewers, when: {did: Product Viewed, count: {gte: 9}, within: 48h}}"


def write(path: Path, *segments: str) -> Path:
    path.write_text("version: 1\nsegments: [" + ", ".join(segments) + "]\n")
    return path


def live(settings: config.Settings) -> dict[str, int]:
    return {key: d.version for key, d in asyncio.run(read(settings)).live.items()}


def test_apply_publishes_changes_and_prunes_a_folder(
    segops: Run, settings: config.Settings, tmp_path: Path
) -> None:
    segops("topics", "create")
    file = write(tmp_path / "shop.yaml", BUYERS, VIEWERS)
    dry = segops("apply", tmp_path, "--dry-run")
    assert dry.out.splitlines()[-1] == "2 added; nothing was written (dry run)"
    assert live(settings) == {}
    assert segops("apply", tmp_path).out.splitlines() == [
        "+ buyers  version 1  added",
        "+ viewers  version 1  added",
        "2 added",
    ]
    write(file, MANY_VIEWERS)
    assert segops("apply", tmp_path).out.splitlines() == [
        "~ viewers  version 2  changed",
        "1 changed",
        "1 segment waits for history: past events are counted first",
    ]
    assert live(settings) == {"buyers": 1, "viewers": 2}
    pruned = segops("apply", file, "--prune")
    assert pruned.out.splitlines() == [
        "= viewers  version 2  unchanged",
        "- buyers  version 1  retired",
        "1 unchanged, 1 retired",
    ]
    again = segops("apply", write(file, BUYERS, VIEWERS))
    assert (again.status, again.out) == (2, "")
    assert "'buyers' was retired" in again.err
    assert str(file) in again.err
    assert live(settings) == {"viewers": 2}


def test_an_error_in_any_file_publishes_nothing(
    segops: Run, settings: config.Settings, tmp_path: Path
) -> None:
    segops("topics", "create")
    write(tmp_path / "good.yaml", BUYERS)
    write(tmp_path / "bad.yaml", "{key: other, when: {did: X, within: 0h}}", "{key: third, when: {dud: X}}")
    refused = segops("apply", tmp_path)
    assert (refused.status, refused.out) == (2, "")
    assert "expected a duration above 0" in refused.err
    assert "dud" in refused.err
    assert live(settings) == {}


def test_missing_topics_suggest_topics_create(segops: Run, settings: config.Settings, tmp_path: Path) -> None:
    refused = segops("apply", write(tmp_path / "shop.yaml", BUYERS))
    assert refused.status == 2
    assert "segops topics create" in refused.err
    missing = segops("apply", tmp_path / "nowhere")
    assert missing.status == 2
