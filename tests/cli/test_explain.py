"""``segops explain``: the tree, the JSON, the instant, and user errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segops.core.values import format_instant
from tests.command import Result, run
from tests.core.helpers import MONDAY as T
from tests.core.helpers import H

SEGMENTS = """
version: 1
segments:
  - key: high-intent
    name: High intent
    when:
      all:
        - {did: Product Viewed, count: {gte: 3}, within: 48h}
        - not: {did: Order Completed, within: 48h}
  - {key: known, when: {known_for: 1d}}
"""


def event(user: str, time_ms: int) -> str:
    record = {
        "type": "track",
        "event": "Product Viewed",
        "userId": user,
        "messageId": f"{user} {time_ms - T}",
    }
    return json.dumps({**record, "timestamp": format_instant(time_ms)}) + "\n"


EVENTS = "".join(event("ann", T + n * H) for n in range(3)) + "{}\n" + event("bob", T + 5 * H)


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "segments.yaml").write_text(SEGMENTS)
    (tmp_path / "events.jsonl").write_text(EVENTS)
    return "--segments", str(tmp_path / "segments.yaml"), "--events", str(tmp_path / "events.jsonl")


def explain(*args: str) -> Result:
    return run("explain", *args)


def test_the_tree_shows_every_node_with_its_verdict(files: tuple[str, ...]) -> None:
    done = explain(*files, "--profile", "user_id:ann", "--segment", "high-intent")
    end = format_instant(T + 48 * H)
    assert done.out.splitlines() == [
        f"user_id:ann at {format_instant(T + 5 * H)}",
        "",
        "✓ high-intent (High intent), version 1",
        f"  member since {format_instant(T + 2 * H)} because of event ann {2 * H}, "
        f"until {end} if nothing more happens",
        f"  complete for events since {format_instant(T)}; "
        "earlier ones, which its windows include, are unknown",
        f"  ✓ all of: 2  [since {format_instant(T + 2 * H)}; until {end}]",
        f"  ├─ ✓ did Product Viewed ≥ 3 within 2d: 3  [since {format_instant(T + 2 * H)}; until {end}]",
        "  └─ ✓ not",
        "     └─ ✗ did Order Completed within 2d: 0",
    ]
    assert done.status == 0
    assert "events.jsonl: line 4: " in done.err


def test_json_covers_every_segment_at_the_given_instant(files: tuple[str, ...]) -> None:
    at = T + H
    done = explain(*files, "--profile", "user_id:ann", "--at", format_instant(at), "--format", "json")
    found = json.loads(done.out)
    assert (found["profile_id"], found["now_ms"]) == ("user_id:ann", at)
    intent, known = found["segments"]
    assert (intent["member"], intent["since"], intent["rule"]["parts"][0]["value"]) == (False, None, 2)
    assert (known["flips_at"], known["rule"]["parts"]) == (T + 24 * H, [])


def test_an_instant_after_the_last_event_advances_the_clock(files: tuple[str, ...]) -> None:
    at = format_instant(T + 48 * H)
    done = explain(*files, "--profile", "user_id:ann", "--at", at, "--format", "json")
    intent, known = json.loads(done.out)["segments"]
    assert (intent["member"], known["member"], known["since"]) == (False, True, T + 24 * H)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--profile", "ann"), "profile 'ann' has no event; did you mean user_id:ann?\n"),
        (("--profile", "user_id:eve"), "profile 'user_id:eve' has no event\n"),
        (
            ("--profile", "user_id:bob", "--at", format_instant(T)),
            f"profile 'user_id:bob' has no event up to {format_instant(T)}\n",
        ),
        (
            ("--profile", "user_id:ann", "--segment", "x"),
            "unknown segment 'x'; known segments: high-intent, known\n",
        ),
    ],
)
def test_an_unknown_profile_or_segment_is_a_user_error(
    files: tuple[str, ...], args: tuple[str, ...], message: str
) -> None:
    done = explain(*files, *args)
    assert (done.status, done.out) == (2, "")
    assert done.err.endswith(message)


def test_policy_limits_are_shown(files: tuple[str, ...]) -> None:
    path = Path(files[1])
    limited = "{known_for: 1d}, membership: {min_stay: 30d, max_entries: 3}}"
    path.write_text(path.read_text().replace("{known_for: 1d}}", limited))
    at = "--at", format_instant(T + 25 * H), "--segment", "known"
    done = explain(*files, "--profile", "user_id:ann", *at)
    since, end = format_instant(T + 24 * H), format_instant(T + 31 * 24 * H)
    assert done.out.splitlines()[2:5] == [
        "✓ known, version 1",
        f"  member since {since}, indefinitely if nothing more happens",
        f"  stays at least until {end}, entries so far: 1 of 3",
    ]
    found = json.loads(explain(*files, "--profile", "user_id:ann", *at, "--format", "json").out)
    assert found["segments"][0]["limits"] == {
        "stays_until": T + 31 * 24 * H,
        "enters_from": None,
        "entries": 1,
        "max_entries": 3,
    }


def test_unreadable_values_of_the_profile_are_reported(files: tuple[str, ...], tmp_path: Path) -> None:
    rule = "{sum: price, of: Product Viewed, is: {gte: 5}, where: {shop: eu}}"
    (tmp_path / "segments.yaml").write_text(f"version: 1\nsegments: [{{key: spent, when: {rule}}}]\n")
    views = [json.loads(event(user, T + n)) for n, user in enumerate(("ann", "", "bob", "ann"))]
    views[1] |= {"anonymousId": "a1"}
    views[3] |= {"anonymousId": "a1"}  # links the anonymous id to her
    odd = {"properties": {"price": "5", "shop": "eu"}}
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(view | odd) + "\n" for view in views))
    for profile, message in (
        ("user_id:ann", "price of Product Viewed: 3 values are text\n"),
        ("user_id:bob", "price of Product Viewed: 1 value is text\n"),
    ):
        done = explain(*files, "--profile", profile)
        assert (done.status, done.err) == (0, message)
        assert "✗ sum of price" in done.out
