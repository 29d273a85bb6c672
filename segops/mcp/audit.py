"""The audit of calls: a line of JSON in the log for each one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from time import monotonic
from typing import Any, Final

import msgspec

from segops.mcp.metrics import McpMetrics

log = logging.getLogger(__name__)

_MAX_BYTES: Final = 4_000
#: The label of calls of names that are no tool: they come from the caller.
UNKNOWN: Final = "unknown"


class Call:
    """One call under way. ``arguments``: as the audit may have them."""

    def __init__(self, caller: str, tool: str, arguments: Mapping[str, Any], metrics: McpMetrics) -> None:
        self._caller, self._tool, self._arguments = caller, tool, arguments
        self._metrics = metrics
        self._began_s = monotonic()
        #: ``answered``, ``refused`` (the caller can mend it), ``failed`` or ``cancelled``.
        self.result = "cancelled"
        self.answer_bytes = 0

    def end(self, *, known: bool) -> None:
        """Write the line, and count. ``known``: the name is that of a tool."""
        seconds = monotonic() - self._began_s
        label = self._tool if known else UNKNOWN
        self._metrics.calls.labels(label, self.result).inc()
        self._metrics.seconds.labels(label).observe(seconds)
        line = {
            "audit": "mcp",
            "caller": self._caller,
            "tool": self._tool,
            "arguments": _bounded(self._arguments),
            "result": self.result,
            "answer_bytes": self.answer_bytes,
            "ms": round(1000 * seconds),
        }
        log.info("%s", msgspec.json.encode(line).decode())


def _bounded(arguments: Mapping[str, Any]) -> Any:
    """Return the arguments, or the beginning of their JSON if they are long."""
    try:
        text = msgspec.json.encode(arguments)
    except (TypeError, ValueError, RecursionError):
        return "not JSON"
    return arguments if len(text) <= _MAX_BYTES else text[:_MAX_BYTES].decode(errors="ignore") + "…"
