"""Commands of ``segops`` as a user would type them in the folder of the demo."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Final

from segops.demo.environment import Environment
from segops.processes.child import Child

_LOOK_S: Final = 0.2
_NOTHING: Final = re.compile(r"(?!)")


async def _at_rest() -> None:
    return


class Commands:
    """Runs commands one after the other; ``say`` prints each with its output."""

    def __init__(self, environment: Environment, say: Callable[[str], None]) -> None:
        self.say = say
        self._environment = environment

    async def run(
        self,
        *arguments: str,
        meanwhile: Callable[[], Awaitable[None]] = _at_rest,
        left_out: re.Pattern[str] = _NOTHING,
    ) -> str:
        """Run a command and return all its output. Raises SegopsError if it fails.

        ``meanwhile`` is called repeatedly until it ends. Lines that begin with ``left_out`` are not shown.
        """
        environment = self._environment
        self.say(f"$ segops {' '.join(arguments)}")
        log = environment.folder / "commands.log"
        start = log.stat().st_size if log.exists() else 0
        with Child(
            *arguments, environment=environment.variables, log=log, folder=environment.folder
        ) as child:
            while not child.ended():
                await asyncio.sleep(_LOOK_S)
                await meanwhile()
            child.check()
        output = log.read_bytes()[start:].decode()
        lines = (line.rstrip() for line in output.splitlines() if not left_out.match(line))
        self.say("\n".join(lines))
        return output
