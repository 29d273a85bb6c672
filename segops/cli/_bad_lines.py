"""Lines of a file that are left out: the first ones are said, all are written to a file if one is given."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Final

from segops.cli._say import say
from segops.core.errors import UserError

#: How many are said.
_SAID: Final = 20


class BadLines:
    """Reports lines of ``file`` that are left out; ``strict``: the first one is an error."""

    def __init__(self, file: Path, target: Path | None = None, *, strict: bool = False) -> None:
        self._file = file
        self._target = target
        self._strict = strict
        self._opened: IO[str] | None = None
        self.count = 0

    def __enter__(self) -> BadLines:
        if self._target is not None:
            try:
                self._opened = self._target.open("a", encoding="utf-8", errors="backslashreplace")
            except OSError as error:
                raise UserError(f"{self._target}: {error.strerror}") from None
        return self

    def __exit__(self, *_error: object) -> None:
        if self._opened is not None:
            self._opened.close()

    def add(self, line: int, *details: str) -> None:
        """Report a line. Raises UserError if ``strict``."""
        detail = ": ".join(details)
        if self._strict:
            raise UserError(f"{self._file}:{line}: {detail}")
        self.count += 1
        if self._opened is not None:
            self._opened.write("\t".join((str(line), *details)) + "\n")
            self._opened.flush()
        if self.count <= _SAID:
            say(f"{self._file}:{line}: {detail}", err=True)
        elif self.count == _SAID + 1:
            say("further rejected lines are not listed here; --rejected writes all to a file", err=True)
