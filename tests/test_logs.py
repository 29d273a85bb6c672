"""The log: plain lines that input cannot forge, at the configured level."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest

from segops.logs import start_logging

Start = Callable[[str], None]


@pytest.fixture
def start() -> Iterator[Start]:
    """Return a function that starts logging as in a new process; restore the loggers afterwards."""
    loggers = [logging.getLogger(name) for name in (None, "faust", "mode", "aiokafka", "aiohttp")]
    before = [(logger.level, logger.handlers[:]) for logger in loggers]

    def start(level: str) -> None:
        before[0] = (before[0][0], logging.root.handlers[:])  # pytest adds its handlers for each test
        logging.root.handlers[:] = []
        start_logging(level)

    yield start
    for logger, (level, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers[:] = handlers


def test_control_characters_and_line_breaks_cannot_forge_records(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    start("info")
    logging.getLogger("segops.x").error(
        "profile %s: no", "u\x1b[2J\u202e\n2026-01-01 CRITICAL segops: forged"
    )
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith(" ERROR segops.x: profile u\\u001b[2J\\u202e")
    assert second == "  2026-01-01 CRITICAL segops: forged: no"


def test_traceback_is_part_of_its_record(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    start("info")
    try:
        raise ValueError("\x07")
    except ValueError:
        logging.getLogger("segops.x").exception("failed")
    _, *others = capsys.readouterr().err.splitlines()
    assert others[0] == "  Traceback (most recent call last):"
    assert others[-1] == "  ValueError: \\u0007"


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        (
            "debug",
            ["ours debug", "ours info", "ours error", "theirs info", "theirs error", "[^-App]: chatter"],
        ),
        ("info", ["ours info", "ours error", "theirs error"]),
        ("warning", ["ours error", "theirs error"]),
        ("error", ["ours error", "theirs error"]),
    ],
)
def test_records_below_the_level_are_dropped(
    start: Start, capsys: pytest.CaptureFixture[str], level: str, shown: list[str]
) -> None:
    start(level)
    ours, theirs = logging.getLogger("segops.streaming.faust.tables"), logging.getLogger("faust.worker")
    ours.debug("ours debug")
    ours.info("ours info")
    ours.error("ours error")
    theirs.info("theirs info")
    theirs.error("theirs error")
    ours.info("[^-App]: chatter")
    if level != "debug":
        ours.error("[^-App]: Crashed %s", "and the process says so")
    assert [line.split(": ", 1)[1] for line in capsys.readouterr().err.splitlines()] == shown
