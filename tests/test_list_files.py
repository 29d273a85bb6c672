"""Static lists without Kafka: in scenarios, and as files of ``segops replay``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.command import Result, run

from .test_scenarios import issues_of, result_of

SEGMENTS = """
version: 1
segments:
  - key: vip
    when: {list: vip}
  - key: others
    when: {all: [{did: A}, {not: {list: vip}}]}
"""
HEAD = "segments: [{key: vip, when: {list: vip}}]\nscenarios:\n  - name: one\n    steps:\n"


def scenario(*steps: str) -> str:
    return HEAD + "".join(f"      - {step}\n" for step in steps)


def test_steps_of_a_scenario_put_versions_of_a_list_in_force(tmp_path: Path) -> None:
    text = scenario(
        "{lists: {vip: [ann, 'email:ben@x.y', cy]}, expect: {}}",
        "{events: [{event: A, userId: ann}, {event: A, userId: dan}], expect: {entered: [vip]}}",
        "{event: {event: A, userId: ben, traits: {email: ben@x.y}, type: identify}, members: {ben: [vip]}}",
        "{lists: {vip: [dan, ann]}, changes: [{action: exited, segment: vip, profile: ben, "
        "reason: definition}, {action: entered, segment: vip, profile: dan, reason: definition}]}",
        "{at: +1h, lists: {vip: {ids: [ann], expires: +3h}}, members: {ann: [vip], dan: []}}",
        "{at: +3h - 1ms, expect: {}}",
        "{at: +3h, changes: [{action: exited, segment: vip, reason: time, occurred_at: +3h}]}",
        "{apply: [{key: more, when: {not: {list: vip}}}], members: {ann: [more]}}",
    )
    result = result_of(tmp_path, text)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("step", "issue"),
    [
        ("{lists: {vip: []}}", "expected a non-empty list"),
        ("{lists: {Vip: [ann]}}", "lists.Vip"),
        ("{lists: {vip: {ids: [ann], until: x}}}", "unknown key"),
        ("{lists: {vip: {ids: [ann], expires: x}}}", "lists.vip.expires: expected an instant"),
        ("{lists: 7}", "expected a map"),
    ],
)
def test_mistakes_in_the_lists_of_a_step_are_reported(tmp_path: Path, step: str, issue: str) -> None:
    found = issues_of(tmp_path, scenario(step, "{expect: {}}"))
    assert any(issue in each for each in found), found


def replay(tmp_path: Path, *options: str, users: tuple[str, ...] = ("u1", "u2")) -> Result:
    (tmp_path / "s.yaml").write_text(SEGMENTS)
    events = [
        {"type": "track", "event": "A", "userId": user, "timestamp": "2026-01-01T00:00:00Z"} for user in users
    ]
    (tmp_path / "e.jsonl").write_text("\n".join(map(json.dumps, events)))
    return run("replay", "--segments", tmp_path / "s.yaml", "--events", tmp_path / "e.jsonl", *options)


def entered(done: Result) -> list[tuple[str, str]]:
    assert done.status == 0, done.err
    found: list[dict[str, Any]] = [json.loads(line) for line in done.out.splitlines()]
    return [(each["profile_id"], each["segment_key"]) for each in found]


def test_replay_reads_a_list_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "vip.txt").write_text("u1\nnull\nu3\n")
    done = replay(tmp_path, "--list", f"vip={tmp_path / 'vip.txt'}")
    assert entered(done) == [("user_id:u1", "vip"), ("user_id:u2", "others")]
    assert f"{tmp_path / 'vip.txt'}:2: not a valid user_id: 'null'\n" in done.err
    assert entered(replay(tmp_path)) == [("user_id:u1", "others"), ("user_id:u2", "others")]


def test_explanation_reads_a_list_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "vip.txt").write_text("u1\n")
    replay(tmp_path)
    words = ("explain", "--segments", tmp_path / "s.yaml", "--events", tmp_path / "e.jsonl")
    for user, option, standing in (
        ("u1", ("--list", f"vip={tmp_path / 'vip.txt'}"), "✓ on list vip: on version 1"),
        ("u2", ("--list", f"vip={tmp_path / 'vip.txt'}"), "✗ on list vip: not on version 1"),
        ("u1", (), "✗ on list vip: no version is in force"),
    ):
        done = run(*words, "--profile", f"user_id:{user}", "--segment", "vip", *option)
        assert done.status == 0, done.err
        assert standing in done.out


def test_replay_reads_identifiers_of_another_type(tmp_path: Path) -> None:
    (tmp_path / "mails.txt").write_text("A@x.y\n")
    option = f"vip:email={tmp_path / 'mails.txt'}"
    assert entered(replay(tmp_path, "--list", option)) == [("user_id:u1", "others"), ("user_id:u2", "others")]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("vip", "expected KEY=FILE, such as vip=vip.txt, got 'vip'"),
        ("Vip=e.txt", "expected KEY=FILE"),
        ("vip=", "expected KEY=FILE"),
        ("vip=nowhere.txt", "no such file: 'nowhere.txt'"),
    ],
)
def test_list_that_is_no_key_and_file_is_refused(tmp_path: Path, option: str, message: str) -> None:
    done = replay(tmp_path, "--list", option)
    assert (done.status, done.out) == (2, "")
    assert message in done.err
