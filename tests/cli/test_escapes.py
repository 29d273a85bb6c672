"""Foreign text cannot control the operator's terminal, whichever command prints it."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops import cli
from segops.core.text import printable
from segops.core.views.profile import EVENT, FeatureView, Identifier, MembershipView, ProfileView

Run = Callable[..., Any]

#: C0 (including line feeds), DEL, C1, and characters that change the direction of text.
EVIL = "u\x1b]0;title\x07\x1b[2J\r\n2026-01-01 forged\x7f\x9b31m\u202etxt\u2066\u200f\u2028."
STEERS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def assert_harmless(text: str, lines: int | None = None) -> None:
    assert STEERS.search(text) is None, text
    assert not any(line.startswith("2026-01-01 forged") for line in text.splitlines())
    assert lines is None or len(text.splitlines()) == lines


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    event = {
        "type": "track",
        "event": EVIL,
        "userId": EVIL,
        "messageId": EVIL,
        "timestamp": "2026-03-01T10:00:00Z",
        "properties": {"x": EVIL},
    }
    trait = {"type": "identify", "userId": EVIL, "messageId": "m2", "traits": {EVIL: EVIL}}
    trait["timestamp"] = "2026-03-01T10:00:00Z"
    odd = {**event, "type": EVIL}
    Path("events.jsonl").write_text("".join(json.dumps(each) + "\n" for each in (event, trait, odd)))
    segments = [
        {"key": "did", "name": EVIL, "description": EVIL, "when": {"did": EVIL}},
    ]
    Path("segments.json").write_text(json.dumps({"version": 1, "segments": segments}))
    return tmp_path


GIVEN = ["--segments", "segments.json", "--events", "events.jsonl"]


def test_replay_prints_one_escaped_line_per_change(segops: Run, files: Path) -> None:
    table = segops("replay", *GIVEN, "--format", "table")
    assert table.status == 0
    assert_harmless(table.out, lines=2)
    assert "user_id:u\\u001b]0;title\\u0007" in table.out
    assert_harmless(table.err)
    assert "events.jsonl: line 3: " in table.err


def test_escaped_json_decodes_to_the_same_values(segops: Run, files: Path) -> None:
    lines = segops("replay", *GIVEN).out
    assert_harmless(lines, lines=1)
    assert json.loads(lines)["profile_id"] == f"user_id:{EVIL}"
    found = segops("explain", *GIVEN, "--profile", f"user_id:{EVIL}", "--format", "json").out
    assert_harmless(found)
    assert json.loads(found)["profile_id"] == f"user_id:{EVIL}"
    assert json.loads(found)["segments"][0]["name"] == EVIL


def test_explain_escapes_its_tree(segops: Run, files: Path) -> None:
    tree = segops("explain", *GIVEN, "--profile", f"user_id:{EVIL}")
    assert tree.status == 0
    assert_harmless(tree.out, lines=5)


@pytest.mark.parametrize(
    "words",
    [
        ["explain", *GIVEN, "--profile", EVIL],
        ["explain", *GIVEN, "--profile", "user_id:u", "--segment", EVIL],
        ["profile", EVIL],
        ["profile", "user_id:u", "--url", EVIL],
        ["split", EVIL],
        ["check", EVIL],
        ["test", EVIL],
        ["produce", EVIL],
        ["replay", "--segments", EVIL, "--events", "events.jsonl"],
        ["replay", "--segments", "segments.json", "--events", "events.jsonl", "--until", EVIL],
        ["worker", "--clock", EVIL],
        [EVIL],
    ],
    ids=lambda words: words[0][:8] + words[-2][:8] if len(words) > 1 else "command",
)
def test_quoted_input_in_messages_is_escaped(segops: Run, files: Path, words: list[str]) -> None:
    done = segops(*words)
    assert done.status == 2
    assert STEERS.search(done.out + done.err) is None


@pytest.fixture
def worker() -> Iterator[str]:
    """Serve a worker's pages with hostile text everywhere."""
    view = ProfileView(
        profile_id=EVIL,
        now_ms=1,
        first_ms=1,
        latest_ms=1,
        identifiers=(Identifier(EVIL, EVENT, 1, EVIL),),
        awaits=(EVIL,),
        held=0,
        traits={EVIL: EVIL, "list": [EVIL]},
        features=(FeatureView(EVIL, EVIL, False),),
        memberships=(MembershipView(EVIL, EVIL, 1, 1, EVIL, EVIL, None),),
    )

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            good = "good" in self.path
            self.send_response(200 if good else 500)
            self.end_headers()
            self.wfile.write(msgspec.json.encode(view) if good else EVIL.encode())

        def log_message(self, *_arguments: object) -> None:
            """Log nothing."""

    with HTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_profile_escapes_a_workers_answer(segops: Run, worker: str) -> None:
    tree = segops("profile", "user_id:good", "--url", worker)
    assert tree.status == 0
    assert_harmless(tree.out, lines=12)
    found = segops("profile", "user_id:good", "--url", worker, "--format", "json").out
    assert_harmless(found)
    assert json.loads(found)["traits"][EVIL] == EVIL
    bad = segops("profile", "user_id:bad", "--url", worker)
    assert bad.status == 1
    assert STEERS.search(bad.err) is None


@given(st.text())
def test_printable_escapes_control_characters_and_preserves_json(text: str) -> None:
    shown = printable(text)
    assert re.search(f"{STEERS.pattern[:-1]}\n\ud800-\udfff]", shown) is None
    assert json.loads(printable(json.dumps({"x": text}, ensure_ascii=False))) == {"x": text}
    assert printable(printable(text)) == shown


def test_only_say_prints() -> None:
    folder = Path(cli.__file__).parent
    for file in folder.glob("*.py"):
        printing = re.findall(
            r"click\.s?echo\(|\bprint\(|sys\.std(?:out|err)\.write|[cC]onsole\.print", file.read_text()
        )
        assert not printing or file.name == "_say.py", file
