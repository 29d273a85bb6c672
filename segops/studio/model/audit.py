"""The audit of a model: each prompt and answer as a line of JSON, one file a day; and the day's budget."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import msgspec

from segops.core.errors import SegopsError, UserError
from segops.core.values import format_instant
from segops.studio.model.client import without

_DATE: Final = 10


class BudgetSpent(SegopsError):
    """The day's requests or tokens are used up."""


class _Line(msgspec.Struct):
    """What the budget reads of a line."""

    id: str
    event: str
    tokens: int | None = None


class Audit:
    """The audit in a folder. Processes that share it share the budget.

    ``secrets`` are replaced wherever they occur. A line is written before its request is sent, with the
    tokens that it may use; the number that was used replaces them once the answer says it.
    """

    def __init__(self, folder: Path, *, requests: int, tokens: int, secrets: Sequence[str] = ()) -> None:
        self._folder = folder
        self._requests = requests
        self._tokens = tokens
        self._secrets = tuple(secrets)

    def reserve(self, now_ms: int, tokens: int, entry: dict[str, Any]) -> str:
        """Write the line of a request that may use ``tokens``; return its id.

        Raises BudgetSpent if the day (UTC) has none left, UserError if the folder cannot be written.
        """
        line = {"id": uuid4().hex, "event": "request", "tokens": tokens, **entry}
        with self._open(now_ms) as file:
            requests, used = _spent(os.pread(file, os.fstat(file).st_size, 0))
            if requests >= self._requests:
                raise BudgetSpent(f"the day's {self._requests:,} requests are used up")
            if used + tokens > self._tokens:
                raise BudgetSpent(
                    f"the day's {self._tokens:,} tokens are used up, but for {self._tokens - used:,}"
                )
            self._write(file, now_ms, line)
        return str(line["id"])

    def note(self, now_ms: int, request: str, event: str, entry: dict[str, Any]) -> None:
        """Write what became of a request: ``answer``, with the ``tokens`` used if known, or ``failure``."""
        with self._open(now_ms) as file:
            self._write(file, now_ms, {"id": request, "event": event, **entry})

    def _write(self, file: int, now_ms: int, entry: dict[str, Any]) -> None:
        hidden = _hidden({"at": format_instant(now_ms), **entry}, self._secrets)
        os.write(file, msgspec.json.encode(hidden) + b"\n")

    @contextmanager
    def _open(self, now_ms: int) -> Iterator[int]:
        path = self._folder / f"{format_instant(now_ms)[:_DATE]}.jsonl"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            raise UserError(f"SEGOPS_STUDIO_MODEL_AUDIT_DIR: cannot write {path}: {error.strerror}") from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
        finally:
            os.close(file)


def _spent(lines: bytes) -> tuple[int, int]:
    """Return the requests and the tokens of a day; an answer's tokens take the place of those reserved."""
    tokens: dict[str, int] = {}
    for line in lines.splitlines():
        try:
            found = msgspec.json.decode(line, type=_Line)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue  # cut by a crash
        if found.tokens is not None and (found.event == "request" or found.id in tokens):
            tokens[found.id] = max(found.tokens, 0)
    return len(tokens), sum(tokens.values())


def _hidden(value: Any, secrets: Sequence[str]) -> Any:
    """Return JSON values without the secrets, in keys and texts at any depth."""
    if isinstance(value, str):
        return without(value, secrets)
    if isinstance(value, dict):
        return {_hidden(key, secrets): _hidden(each, secrets) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_hidden(each, secrets) for each in value]
    return value
