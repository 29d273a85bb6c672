"""Replays of drawn lines by both implementations: all that they print, count and evaluate must be equal."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import BytesIO, StringIO
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from segops.cli import _lines
from segops.cli.replay import Edit, begun, run
from segops.core.segments import SegmentSet
from segops.schemas.identifying import IdentityLimits
from tests.core.strategies import BASE_MS
from tests.core.strategies_lists import LISTS
from tests.kernel.people import DEVICES, LIMITS, event_json

#: Lines that Python has to read, or that change no profile.
_ODD_LINES = (
    b"",
    b" \t\r",
    b"{oops",
    b'{"type":"track"}',
    b'{"type":"alias","userId":"u1","previousId":"a1","timestamp":"%s"}',
    b'{"type":"track","event":"A","userId":"u1","previousId":1.5,"timestamp":"%s"}',
    b'{"type":"track","event":"A","userId":"u1","properties":null,"timestamp":"%s"}',
    b'{"type":"track","event":"A","userId":"u2","timestamp":"soon","sentAt":"%s"}',
    b'{"type":"track","event":"A","userId":"u2","timestamp":"2500-01-01","receivedAt":"%s"}',
    b'{"type":"track","event":"A","context":{"device":{"id":"d1"}},"userId":"u2","timestamp":"%s"}',
    b'{"batch":[{"type":"page","userId":"u1"},{"type":"page","anonymousId":"a3"}],"sentAt":"%s"}',
    b'\xef\xbb\xbf{"type":"page","userId":"u2","timestamp":"%s"}',
    b'{"type":"page","userId":"u2","name":"\xc2\x85\xe2\x80\xae","timestamp":"%s"}',
)


def assert_replays_agree(
    segments: SegmentSet, steps: list[tuple[str, Any]], later: SegmentSet | None = None
) -> None:
    """Replay a file of these steps with and without the kernel, and assert that nothing differs."""
    rng = Random(zlib.crc32(repr(steps).encode()))
    lines, end_ms = _lines_of(steps, rng), max((arg for kind, arg in steps if kind == "clock"), default=None)
    options = {
        "limits": rng.choice(LIMITS),
        "lists": [(f"user_id:u{n}", key) for key in LISTS for n in range(4) if rng.random() < 0.1],
        "form": rng.choice(("jsonl", "jsonl", "table")),
        "until": rng.choice((None, end_ms)),
        "later": later,
        "at_ms": BASE_MS + rng.randrange(60_000),
        "piece": rng.choice((50, 2_000, 1 << 20)),
    }
    with TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        path.write_bytes(lines)
        python, native = (_seen(segments, path, kernel, **options) for kernel in ("off", "require"))
    for name, value in python.items():
        assert native[name] == value, name


def _lines_of(steps: list[tuple[str, Any]], rng: Random) -> bytes:
    found, ids = [], rng.choice((None, DEVICES))
    for number in range(rng.choice((1, 3))):
        for kind, event in steps:
            if kind == "event":
                found.append(event_json(event, rng, number, ids))
                if rng.random() < 0.06:
                    time = json.loads(found[-1])["timestamp"].encode()
                    found.append(rng.choice(_ODD_LINES).replace(b"%s", time))
    end = rng.choice((b"\n", b"\r\n"))
    return end.join(found) + rng.choice((b"", end))


@contextmanager
def _set(kernel: str, piece: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "SEGOPS_KERNEL", kernel)
        patch.setattr(_lines, "_PIECE", piece)
        yield


def _seen(
    segments: SegmentSet,
    path: Path,
    kernel: str,
    *,
    limits: IdentityLimits,
    lists: list[tuple[str, str]],
    form: str,
    until: int | None,
    later: SegmentSet | None,
    at_ms: int,
    piece: int,
) -> dict[str, Any]:
    out, err, values = StringIO(), StringIO(), BytesIO()
    with _set(kernel, piece), redirect_stdout(out), redirect_stderr(err):
        replay = begun(segments, limits)
        listed = [change for each in lists for change in replay.put_on_list(*each)]
        edit = None if later is None else Edit(replay, later, at_ms)
        read = run(replay, path, edit, form=form, until=until, indicators=values)
    seen: dict[str, Any] = {"out": out.getvalue(), "err": err.getvalue(), "values": values.getvalue()}
    seen |= {"listed": listed, "notes": [*read.notes()], "rejected": read.rejected, "skipped": read.skipped}
    seen["edit"] = None if edit is None else [*edit.notes()]
    names = ("sizes", "counts", "clock_ms", "events", "duplicates", "clamped", "failures", "repairs")
    return seen | {name: getattr(replay, name) for name in names}
