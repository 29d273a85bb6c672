"""Every reason for which a segment is rejected (``SPEC.md#refused``), as its author sees it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

_LOOP = [{"key": "x", "when": {"in_segment": "y"}}, {"key": "y", "when": {"not": {"in_segment": "x"}}}]

#: File -> its segments (or a single rule), the place of the error, and the reason.
REFUSED: dict[str, tuple[Any, str, str]] = {
    "unknown-key": (
        {"did": "A", "whithin": "1d"},
        "segments[0].when.whithin",
        "unknown key; expected one of did, ",
    ),
    "unknown-key-of-a-segment": (
        [{"key": "k", "when": {"did": "A"}, "owner": "me"}],
        "segments[0].owner",
        "unknown key",
    ),
    "unknown-node": ({"dit": "A"}, "segments[0].when", "unknown node dit; expected one of all, any"),
    "unknown-operator": (
        {"trait": "p", "is": {"equals": 1}},
        "segments[0].when.is.equals",
        "unknown operator",
    ),
    "empty-list": ({"all": []}, "segments[0].when.all", "expected a non-empty list of nodes"),
    "empty-list-of-names": (
        {"did": []},
        "segments[0].when.did",
        "expected an event name, any_event, or a non-empty list",
    ),
    "empty-list-of-values": (
        {"trait": "p", "is": {"in": []}},
        "segments[0].when.is.in",
        "expected a non-empty list of values",
    ),
    "wrong-type": (
        {"did": "A", "count": {"gte": "3"}},
        "segments[0].when.count.gte",
        "expected an integer",
    ),
    "wrong-type-of-a-test": ({"trait": "p", "is": 3}, "segments[0].when.is", "expected a map of operators"),
    "unknown-segment": (
        {"in_segment": "nobody"},
        "unknown-segment.when",
        "in_segment: unknown segment nobody",
    ),
    "cycle": (_LOOP, "x.when", "in_segment forms a cycle: x -> y -> x"),
    "unsafe-expression": (
        {"trait": "p", "is": {"matches": r"(a)\1"}},
        "segments[0].when.is.matches",
        r"invalid regular expression '(a)\\1'",
    ),
    "within-of-0": ({"did": "A", "within": "0h"}, "segments[0].when.within", "expected a duration above 0"),
    "count-that-never-holds": (
        {"did": "A", "count": {"lt": 0}},
        "segments[0].when.count",
        "never holds: a count",
    ),
    "count-that-always-holds": (
        {"did": "A", "count": {"ne": -1}},
        "segments[0].when.count",
        "always holds: a",
    ),
    "test-that-never-holds": (
        {"trait": "p", "is": {"gte": 10, "lt": 5}},
        "segments[0].when.is",
        "never holds: no value satisfies: ≥ 10 and < 5",
    ),
    "rule-that-never-holds": (
        {"all": [{"did": "A", "within": "1h"}, {"did_not": "A", "within": "48h"}]},
        "segments[0].when",
        "never holds: all[0] (did A within 1h) and all[1] (did not A within 2d) exclude each other",
    ),
    "reused-key": ([{"key": "k", "when": {"did": n}} for n in "AB"], "k", "duplicate key 'k'"),
}


def _write(folder: Path, name: str, written: Any) -> Path:
    listed = written if isinstance(written, list) else [{"key": name, "when": written}]
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"version": 1, "segments": listed}), "utf-8")
    return path


def _is_reported(err: str, path: Path, location: str, reason: str) -> bool:
    return any(line.startswith(f"{path}: {location}: {reason}") for line in err.splitlines())


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("command", ["check", "apply"])
def test_every_invalid_segment_is_rejected_with_file_place_and_reason(
    segops: Run, tmp_path: Path, command: str, name: str
) -> None:
    """``apply`` reports it before it contacts a broker: nothing is partly published."""
    written, location, reason = REFUSED[name]
    path = _write(tmp_path, name, written)
    done = segops(command, path)
    assert (done.status, done.out) == (2, "")
    assert len(done.err.splitlines()) == 1
    assert _is_reported(done.err, path, location, reason), done.err


def test_all_errors_of_a_folder_are_reported_in_one_run(segops: Run, tmp_path: Path) -> None:
    files = {
        name: _write(tmp_path, name, written)
        for name, (written, _, _) in REFUSED.items()
        if name != "reused-key"
    }
    files["reused-key"] = _write(tmp_path, "reused-key", [{"key": "r", "when": {"did": n}} for n in "AB"])
    _write(tmp_path, "fine", {"did": "A"})
    done = segops("check", tmp_path)
    assert (done.status, done.out) == (2, "")
    assert len(done.err.splitlines()) == len(REFUSED)
    for name, (_, location, reason) in REFUSED.items():
        if name != "reused-key":
            assert _is_reported(done.err, files[name], location, reason), name
    assert _is_reported(done.err, files["reused-key"], "r", "duplicate key 'r'")


def test_a_reference_to_an_invalid_segment_is_not_a_second_error(segops: Run, tmp_path: Path) -> None:
    _write(tmp_path, "a", {"did": []})
    _write(tmp_path, "b", {"all": [{"in_segment": "a"}, {"in_segment": "c"}]})
    reported = segops("check", tmp_path).err.splitlines()
    assert [line.rsplit("json: ")[1] for line in reported] == [
        "segments[0].when.did: expected an event name, any_event, or a non-empty list of event names",
        "b.when: in_segment: unknown segment c",
    ]


@pytest.mark.parametrize(
    ("when", "warning"),
    [
        ({"did": "A", "count": {"gte": 0}}, "segments[0].when.count: always holds: a count is never below 0"),
        (
            {"known_for": "0d"},
            "segments[0].when.known_for: always holds: every customer has been known for that",
        ),
        (
            {"any": [{"did": "A"}, {"did": "A"}]},
            "segments[0].when.any[1]: duplicate of segments[0].when.any[0]",
        ),
        (
            {"did": "A", "count": {"gte": 300}, "within": "1d"},
            "segments[0].when.count: stores every entry of a",
        ),
    ],
)
def test_suspicious_rules_are_warnings(segops: Run, tmp_path: Path, when: Any, warning: str) -> None:
    path = _write(tmp_path, "odd", when)
    done = segops("check", path)
    assert done.status == 0
    assert done.out.endswith(": OK\n")
    assert len(done.err.splitlines()) == 1
    assert done.err.startswith(f"warning: {path}: {warning}")
