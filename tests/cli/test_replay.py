"""``segops replay``: files, standard input, formats, exit statuses."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from segops.core.values import format_instant
from tests.command import Result, run
from tests.core.helpers import MONDAY as T
from tests.core.helpers import H

SEGMENTS = """
version: 1
segments:
  - key: high-intent
    name: High intent, no purchase
    description: Viewed a product 3+ times in 48 hours and has not bought
    when:
      all:
        - did: Product Viewed
          count: {gte: 3}
          within: 48h
        - did_not: Order Completed
          within: 48h
"""


def view(time_ms: int, name: str = "Product Viewed") -> str:
    event = {"type": "track", "event": name, "userId": "u1", "timestamp": format_instant(time_ms)}
    return json.dumps({**event, "messageId": f"{name} {time_ms}"})


VIEWS = "".join(view(T + n * H) + "\n" for n in range(3))


@pytest.fixture
def segments(tmp_path: Path) -> Path:
    path = tmp_path / "segments.yaml"
    path.write_text(SEGMENTS)
    return path


def replay(*args: object, text: str = "") -> Result:
    return run("replay", *args, text=text)


def changes(done: Result) -> list[dict[str, Any]]:
    assert done.status == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def test_the_high_intent_example_enters_and_exits_at_the_millisecond(segments: Path) -> None:
    until = format_instant(T + 48 * H)
    done = replay("--segments", segments, "--events", "-", "--until", until, text=VIEWS)
    entered, exited = changes(done)
    assert (entered["action"], entered["reason"], entered["occurred_at"]) == ("entered", "event", T + 2 * H)
    assert (entered["event_id"], entered["flips_at"]) == (f"Product Viewed {T + 2 * H}", T + 48 * H)
    assert (exited["action"], exited["reason"], exited["occurred_at"]) == ("exited", "time", T + 48 * H)
    assert (exited["event_id"], exited["flips_at"], exited["sequence"]) == (None, None, 2)


def test_one_millisecond_before_the_end_nothing_has_exited(segments: Path) -> None:
    until = format_instant(T + 48 * H - 1)
    done = replay("--segments", segments, "--events", "-", "--until", until, text=VIEWS)
    assert [change["action"] for change in changes(done)] == ["entered"]


def test_without_until_the_clock_stops_at_the_last_event(segments: Path) -> None:
    done = replay("--segments", segments, "--events", "-", text=VIEWS)
    assert [change["action"] for change in changes(done)] == ["entered"]


def test_a_purchase_ends_the_membership(segments: Path) -> None:
    text = VIEWS + view(T + 3 * H, "Order Completed")
    found = changes(replay("--segments", segments, "--events", "-", text=text))
    assert [(c["action"], c["occurred_at"]) for c in found] == [("entered", T + 2 * H), ("exited", T + 3 * H)]


def test_a_gzip_file_gives_the_same_changes(segments: Path, tmp_path: Path) -> None:
    plain, packed = tmp_path / "e.jsonl", tmp_path / "e.jsonl.gz"
    plain.write_text(VIEWS)
    packed.write_bytes(gzip.compress(VIEWS.encode()))
    outputs = {replay("--segments", segments, "--events", path).out for path in (plain, packed)}
    assert len(outputs) == 1
    assert outputs.pop().count("\n") == 1


@pytest.mark.parametrize(("strict", "status"), [((), 0), (("--strict",), 1)])
def test_an_invalid_line_is_reported_with_its_number(
    segments: Path, strict: tuple[str, ...], status: int
) -> None:
    text = "\n".join([VIEWS.splitlines()[0], "", "{oops", *VIEWS.splitlines()[1:], '{"type":"track"}'])
    done = replay("--segments", segments, "--events", "-", *strict, text=text)
    assert done.status == status
    assert len(done.out.splitlines()) == 1
    first, second, total = done.err.splitlines()
    assert first.startswith("-: line 3: invalid_json: ")
    assert second.startswith("-: line 6: no_name: ")
    assert total == "2 invalid events"


def test_strict_accepts_valid_lines(segments: Path) -> None:
    assert replay("--segments", segments, "--events", "-", "--strict", text=VIEWS).status == 0


def test_unread_values_and_unmet_paths_are_reported_on_standard_error(
    tmp_path: Path,
) -> None:
    path = tmp_path / "s.yaml"
    rule = "{sum: price, of: Product Viewed, is: {gte: 5}, where: {shop: eu}}"
    path.write_text(
        f"version: 1\nsegments: [{{key: spent, when: {rule}}}, {{key: b, when: {{did: Bought}}}}]\n"
    )
    views = [json.loads(view(T + n)) | {"properties": {"price": "5", "shop": "eu"}} for n in range(3)]
    text = "\n".join(map(json.dumps, views))
    done = replay("--segments", path, "--events", "-", "--strict", text=text)
    assert (done.status, done.out) == (0, "")
    assert done.err.splitlines() == [
        "price of Product Viewed: 3 values are text",
        "price of Product Viewed: 3 events have numbers as text; as: number reads it",
    ]
    done = replay("--segments", path, "--events", "-", text=text.replace("price", "prise"))
    assert done.err == "no Product Viewed has price\n"


def test_a_batch_and_byte_order_marks_are_read(segments: Path, tmp_path: Path) -> None:
    plain = replay("--segments", segments, "--events", "-", text=VIEWS)
    body = '\ufeff{"batch": [%s]}' % ",".join(VIEWS.splitlines())  # noqa: UP031
    for text in (body, "\ufeff" + VIEWS, VIEWS.replace("\n", "\n\ufeff")):
        done = replay("--segments", segments, "--events", "-", text=text)
        assert (done.out, done.err) == (plain.out, "")
    odd = replay("--segments", segments, "--events", "-", text=body.replace("]}", ', 5]}\n{"batch": 7}'))
    assert odd.out == plain.out
    assert [line.split(": ")[1] for line in odd.err.splitlines()[:2]] == [
        "line 1, event 4 of the batch",
        "line 2",
    ]


def test_events_of_a_batch_without_message_ids_are_different_events(segments: Path) -> None:
    views = [
        json.dumps({k: v for k, v in json.loads(line).items() if k != "messageId"})
        for line in VIEWS.split("\n")
        if line
    ]
    done = replay("--segments", segments, "--events", "-", text=f'{{"batch": [{",".join(views)}]}}')
    assert [change["action"] for change in changes(done)] == ["entered"]


def test_a_utf_16_file_is_rejected_with_a_hint(segments: Path, tmp_path: Path) -> None:
    path = tmp_path / "powershell.jsonl"
    path.write_text(VIEWS, "utf-16")
    done = replay("--segments", segments, "--events", path)
    assert (done.status, done.out) == (2, "")
    assert done.err == f"{path}: expected UTF-8, got UTF-16 (in PowerShell, write with -Encoding utf8)\n"


def test_table_format_prints_a_heading_and_rows(segments: Path) -> None:
    heading, row = replay(
        "--segments", segments, "--events", "-", "--format", "table", text=VIEWS
    ).out.splitlines()
    assert heading.split() == ["occurred", "at", "action", "segment", "reason", "flips", "at", "profile"]
    assert row.split()[:3] == ["2025-10-13T02:00:00.000Z", "entered", "high-intent"]
    assert row.split()[3:] == ["event", "2025-10-15T00:00:00.000Z", "user_id:u1"]


def test_a_truncated_file_is_reported_after_its_readable_part_is_printed(
    segments: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "e.jsonl.gz"
    packed.write_bytes(gzip.compress(VIEWS.encode())[:-8])
    done = replay("--segments", segments, "--events", packed)
    assert done.status == 2
    assert "cannot be read to its end" in done.err
    assert '"action":"entered"' in done.out
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--events", "-"), "Missing option '--segments'"),
        (("--segments", "nowhere.yaml", "--events", "-"), "nowhere.yaml: no such file or folder"),
        (("--events", "nowhere.jsonl"), "nowhere.jsonl: No such file or directory"),
        (
            ("--events", "-", "--until", "soon"),
            "expected an ISO-8601 instant like 2026-01-31T00:00:00Z, got 'soon'",
        ),
        (("--events", "-", "--format", "xml"), "'xml' is not one of"),
    ],
)
def test_user_errors_have_status_2_without_a_traceback(
    segments: Path, args: tuple[str, ...], message: str
) -> None:
    given = args if "--segments" in args or message.startswith("Missing") else ("--segments", segments, *args)
    done = replay(*given, text="")
    assert (done.status, done.out) == (2, "")
    assert message in done.err
    assert "Traceback" not in done.err


def test_several_segment_folders_form_one_set(segments: Path, tmp_path: Path) -> None:
    more = tmp_path / "more"
    more.mkdir()
    (more / "b.json").write_text('{"version":1,"segments":[{"key":"b","when":{"in_segment":"high-intent"}}]}')
    done = replay("--segments", segments, "--segments", more, "--events", "-", text=VIEWS)
    assert [change["segment_key"] for change in changes(done)] == ["high-intent", "b"]


EDIT = """
version: 1
segments:
  - {key: high-intent, when: {all: [{in_segment: viewers}, {did_not: Order Completed, within: 48h}]}}
  - {key: viewers, when: {did: Product Viewed, count: {gte: 2}, within: 7d}}
"""


@pytest.fixture
def edit(tmp_path: Path) -> Path:
    path = tmp_path / "edit.yaml"
    path.write_text(EDIT)
    return path


def applied(segments: Path, edit: Path, at_ms: int, *more: object) -> Result:
    at = format_instant(at_ms)
    return replay("--segments", segments, "--events", "-", "--apply", edit, "--at", at, *more, text=VIEWS)


VIEWERS = ("viewers", 1, "backfill")


@pytest.mark.parametrize(
    "after_h, expected",
    [(0, []), (1, [VIEWERS, ("high-intent", 2, "definition")]), (2, [("high-intent", 1, "event"), VIEWERS])],
)
def test_applied_segments_count_the_events_up_to_that_instant(
    segments: Path, edit: Path, after_h: int, expected: list[tuple[str, int, str]]
) -> None:
    at_ms = T + after_h * H
    found = changes(applied(segments, edit, at_ms))
    seen = [(each["segment_key"], each["segment_version"], each["reason"]) for each in found]
    later = [("viewers", 1, "event"), ("high-intent", 2, "event")] if after_h == 0 else []
    assert seen == [*expected, *later]
    assert {each["occurred_at"] for each in found} == {T + H if later else at_ms}


def test_applied_segments_that_are_never_reached_are_reported(segments: Path, edit: Path) -> None:
    done = applied(segments, edit, T + 9 * H)
    assert done.status == 0
    assert "nothing was published: the clock did not reach" in done.err


@pytest.mark.parametrize("option", ["--apply", "--at"])
def test_apply_and_at_belong_together(segments: Path, option: str) -> None:
    value = segments if option == "--apply" else "2026-01-01"
    done = replay("--segments", segments, "--events", "-", option, value, text=VIEWS)
    assert done.status == 2
    assert "expected --apply and --at together" in done.err


AUDIENCE = """
version: 1
audiences:
  - {key: interested, segment: high-intent, channel: email}
"""


@pytest.mark.parametrize(("consent", "expected"), [("none", True), ("consent.marketing", False)])
def test_audiences_in_the_files_are_evaluated(
    segments: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, consent: str, *, expected: bool
) -> None:
    audiences = tmp_path / "audiences.yaml"
    audiences.write_text(AUDIENCE)
    monkeypatch.setenv("SEGOPS_AUDIENCE_CONSENT", consent)
    event = json.loads(view(T))
    named = json.dumps({**event, "context": {"traits": {"email": "ann@shop.example"}}}) + "\n"
    found = changes(
        replay("--segments", segments, "--segments", audiences, "--events", "-", text=named + VIEWS)
    )
    keys = {each["segment_key"] for each in found}
    assert keys == {"high-intent", *(["audience.interested"] if expected else [])}
