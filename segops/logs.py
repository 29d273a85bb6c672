"""The log of a process: plain lines on the standard error, without control characters of others' text."""

from __future__ import annotations

import logging
from typing import Final

from segops.core.text import printable

_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
#: The client tells each of its tries in an outage, hundreds a second; what comes of them comes as an error.
_LIBRARIES: Final = {
    "faust": logging.ERROR,
    "mode": logging.ERROR,
    "aiohttp": logging.ERROR,
    "aiokafka": logging.CRITICAL,
}


class _Lines(logging.Formatter):
    """Further lines of a record are set in, so that no text can pass for a record of its own."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record), lines=True).replace("\n", "\n  ")


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether it is no chatter of a Faust service: those log under our modules that extend them.

    What crashes one is chatter too: the process ends with it, and says so.
    """
    message = str(record.msg)
    return not message.startswith("[^") or (record.levelno >= logging.ERROR and "]: Crashed " not in message)


def start_logging(level: str) -> None:
    """Log from this level on; of the libraries errors only, but everything for ``debug``."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines(_FORMAT))
    if level != "debug":
        handler.addFilter(_is_ours)
    logging.basicConfig(level=level.upper(), handlers=[handler])
    for name, least in _LIBRARIES.items():
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else least)
