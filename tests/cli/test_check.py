"""``segops check``: errors, warnings, costs, and rules against events."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command import Result, run

GOOD = "version: 1\nsegments:\n- {key: a, when: {did: A}}\n- {key: b, when: {in_segment: a}}\n"


def check(*paths: Path | str) -> Result:
    return run("check", *paths)


def test_valid_files_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    done = check(tmp_path)
    assert (done.status, done.err) == (0, "")
    assert done.out == "2 segments, 1 feature: OK\n"


def test_every_error_has_file_place_and_reason_and_status_2(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("version: 1\nsegments:\n- {key: a, when: {did: A, within: 0d}}\n")
    (tmp_path / "b.yaml").write_text("version: 1\nsegments:\n- {key: b, when: {all: []}}\n")
    done = check(tmp_path)
    assert (done.status, done.out) == (2, "")
    assert done.err.splitlines() == [
        f"{tmp_path}/a.yaml: segments[0].when.within: expected a duration above 0, got '0d'",
        f"{tmp_path}/b.yaml: segments[0].when.all: expected a non-empty list of nodes",
    ]


def test_a_warning_keeps_status_0(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("version: 1\nsegments:\n- {key: a, when: {did: A, count: {gte: 0}}}\n")
    done = check(path)
    assert done.status == 0
    assert done.err == f"warning: {path}: segments[0].when.count: always holds: a count is never below 0\n"


def test_a_missing_path_is_a_user_error_without_a_traceback(tmp_path: Path) -> None:
    done = check(tmp_path / "nowhere.yaml")
    assert (done.status, done.out) == (2, "")
    assert done.err == f"{tmp_path}/nowhere.yaml: no such file or folder\n"


def test_a_missing_argument_is_a_user_error() -> None:
    done = check()
    assert done.status == 2
    assert "Missing argument 'PATH...'" in done.err


SPENT = "{key: spent, when: {sum: revenue, of: Order Completed, is: {gte: 100}, where: {shop: eu}}}"
BORN = "{key: born, when: {trait: birthday, is: {anniversary_in_next: 7d}}}"
RARE = "{key: rare, when: {any: [{did: Order Complted}, {trait: tier, is: {eq: gold}}]}}"
NOW = '"timestamp": "2026-03-01T10:00:00Z"'


def order(user: str, properties: str) -> str:
    begin = '{"type": "track", "event": "Order Completed", '
    return f'{begin}"userId": "{user}", {NOW}, "properties": {properties}}}'


EVENTS = "\n".join(
    [
        order("u1", '{"revenue": "59.90", "shop": "eu"}'),
        order("u1", '{"revenue": "59.90", "shop": "eu"}'),
        order("u2", '{"revenue": 50, "shop": 5}'),
        order("u3", "[]"),
        f'{{"type": "identify", "userId": "u1", {NOW}, "traits": {{"birthday": "31/12/1990"}}, "sentAt": 5}}',
        f'{{"type": "identify", {NOW}}}',
        "no json",
        "",
    ]
)


def test_unread_values_and_unknown_names_in_events_are_reported(tmp_path: Path) -> None:
    rules, events = tmp_path / "a.yaml", tmp_path / "e.jsonl"
    rules.write_text(f"version: 1\nsegments:\n- {SPENT}\n- {BORN}\n- {RARE}\n")
    events.write_text(EVENTS)
    done = check("--events", events, rules)
    assert done.status == 0
    assert done.out.splitlines() == [
        "3 segments, 2 features: OK",
        f"{events}: 5 events, 2 invalid (no_identifier 1, invalid_json 1)",
        "  properties: 1 event with something other than an object, read as empty",
        "  sentAt: 1 event with a time that cannot be read, ignored",
        "  revenue of Order Completed: 2 values are text",
        "  trait birthday: 1 value is not a date",
        "  shop of Order Completed: 1 value is a number",
        "  revenue of Order Completed: 2 events have numbers as text; as: number reads it",
        "  no event has the trait tier",
        "  no event is named Order Complted",
    ]
    assert [line.split(": ")[1] for line in done.err.splitlines()] == ["line 6", "line 7"]


def test_events_that_match_all_rules_produce_no_notes(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"version: 1\nsegments:\n- {SPENT}\n")
    events = tmp_path / "e.jsonl"
    events.write_text(order("u1", '{"revenue": 5, "shop": "eu"}'))
    done = check(tmp_path / "a.yaml", "--events", events)
    assert (done.status, done.err) == (0, "")
    assert done.out == f"1 segment, 1 feature: OK\n{events}: 1 events\n"


def test_a_missing_events_file_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    done = check(tmp_path / "a.yaml", "--events", tmp_path / "nowhere.jsonl")
    assert done.status == 2
    assert done.err == f"{tmp_path}/nowhere.jsonl: No such file or directory\n"


def test_cost_prints_a_table_per_segment(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    done = check("--cost", tmp_path)
    assert (done.status, done.err) == (0, "")
    first, _, heading, a, b, every, *_ = done.out.splitlines()
    assert first == "2 segments, 1 feature: OK"
    assert heading.split("  ")[0] == "segment"
    assert a.split()[:5] == ["a", "1", "1", "0", "0"]
    assert b.split()[:5] == ["b", "1", "0", "0", "0"]
    sizes = [int(line.split()[-1].replace(",", "")) for line in (a, b, every)]
    assert 0 < sizes[1] < sizes[0]
    assert sizes[2] == sizes[0] + sizes[1]


@pytest.mark.parametrize(("retention", "named"), [("14d", ["quarter", "sum-and-short"]), ("90d", [])])
def test_windows_longer_than_the_history_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, retention: str, named: list[str]
) -> None:
    (tmp_path / "segments.yaml").write_text(
        """
        version: 1
        segments:
          - {key: ever, when: {did: A}}
          - {key: quarter, when: {did: A, within: 90d}}
          - key: sum-and-short
            when: {all: [{sum: x, of: A, is: {gte: 1}, within: 20d}, {did: B, within: 1d}]}
          - {key: two-weeks, when: {did: A, within: 14d}}
        """
    )
    monkeypatch.setenv("SEGOPS_HISTORY_RETENTION", retention)
    first, *others = run("check", str(tmp_path)).out.splitlines()
    assert first.startswith("4 segments")
    assert [line.split(":")[0].strip() for line in others] == named
    if named:
        assert others[0] == (
            "  quarter: a window of 90d; profiles are filled from a history of 14d (SEGOPS_HISTORY_RETENTION)"
        )
    monkeypatch.setenv("SEGOPS_ARCHIVE_URL", "file:///tmp/archive")
    assert len(run("check", str(tmp_path)).out.splitlines()) == 1
