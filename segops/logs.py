"""The log of a process: plain lines on standard error, with control characters escaped."""

from __future__ import annotations

import logging
from typing import Final

from segops.core.text import printable

_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
#: aiokafka logs every retry of an outage, hundreds a second; the resulting error reaches us as an exception.
_LIBRARIES: Final = {
    "faust": logging.ERROR,
    "mode": logging.ERROR,
    "aiohttp": logging.ERROR,
    "aiokafka": logging.CRITICAL,
    "mcp": logging.ERROR,
    "uvicorn": logging.ERROR,
}


class _Lines(logging.Formatter):
    """Indents the continuation lines of a record, so that no message can fake a record."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record), lines=True).replace("\n", "\n  ")


def _is_ours(record: logging.LogRecord) -> bool:
    """Return whether a record is our own, not one of a Faust service that logs under our subclass's name.

    Drops crash reports of services too: the process ends with the same error and logs it.
    """
    message = str(record.msg)
    return not message.startswith("[^") or (record.levelno >= logging.ERROR and "]: Crashed " not in message)


def start_logging(level: str) -> None:
    """Log from ``level`` on; only errors of the libraries, unless the level is ``debug``."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines(_FORMAT))
    if level != "debug":
        handler.addFilter(_is_ours)
    logging.basicConfig(level=level.upper(), handlers=[handler])
    for name, least in _LIBRARIES.items():
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else least)
