"""The edit that the demo publishes half-way: planned, applied, and followed until it is in force."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from segops.analytics.views import BackfillProgress, Rollout
from segops.core.backfill import BACKFILL
from segops.core.errors import SegopsError
from segops.core.events import Change
from segops.core.scans import Overlap
from segops.core.segments import Definition, edited
from segops.core.values import format_instant
from segops.demo.children import Child
from segops.demo.dashboard import DashboardState
from segops.demo.environment import HALF_WAY, Environment
from segops.operations.rollout import wait_until_in_force
from segops.operations.scans import scan
from segops.schemas.scans import OverlapRequest
from segops.schemas.segments import load_drafts

_LOOK_S: Final = 0.1
_WAIT_S: Final = 120.0
_SUGGESTION: Final = re.compile(r"^to publish it: segops (apply .+)$", re.MULTILINE)
#: Begins the lines of segments that an edit leaves alone; the last line counts them.
_UNCHANGED: Final = "= "
#: The reasons of the changes that a publication itself makes.
REASONS: Final = (BACKFILL, "definition")


class Edit:
    """An edit of the example segments. ``say`` prints what a user sees who publishes it by hand."""

    def __init__(
        self, environment: Environment, dashboard: DashboardState, say: Callable[[str], None]
    ) -> None:
        self._environment = environment
        self._dashboard = dashboard
        self._say = say
        former = {each.key: each for each in environment.definitions}
        after = edited(former.values(), load_drafts([HALF_WAY]).definitions)
        changed = [each for each in after if former.get(each.key) is not each]
        self._edited: list[Definition] = sorted(changed, key=lambda each: each.key)
        self._new = {each.key for each in after} - former.keys()

    async def publish(self, changes: Mapping[str, Change]) -> None:
        """Publish the edit; return when it is in force and all its ``changes`` have been received.

        Raises SegopsError if a command fails.
        """
        self._dashboard.add(self._edited)
        self._say(f"\nHalf-way, on {format_instant(self._dashboard.clock_ms)[:10]}, the segments are edited:")
        for each in self._edited:
            kind = "new" if each.key in self._new else "edited"
            self._say(f"  {each.name} ({each.key}, {kind}): {each.description}")
        shutil.copytree(HALF_WAY, self._environment.segments_folder, dirs_exist_ok=True)
        planned = await self._command("plan", "segments/")
        suggested = _SUGGESTION.search(planned)
        if suggested is None:
            raise SegopsError(f"segops plan names no command to publish the plan:\n{planned}")
        await self._command(*suggested[1].split())
        began = self._dashboard.elapsed_s
        await self._until_in_force()
        await self._until_received()
        self._say(f"in force after {self._dashboard.elapsed_s - began:.1f} s; published:")
        for line in self._published(changes.values()):
            self._say(line)
        self._say("")

    async def _command(self, *arguments: str) -> str:
        """Run a segops command in the folder of the demo, and show it with its output."""
        environment = self._environment
        log = environment.folder / "commands.log"
        start = log.stat().st_size if log.exists() else 0
        with Child(
            *arguments, environment=environment.variables, log=log, folder=environment.folder
        ) as child:
            while not child.ended():
                await asyncio.sleep(_LOOK_S)
            child.check()
        output = log.read_bytes()[start:].decode()
        lines = (line.rstrip() for line in output.splitlines() if not line.startswith(_UNCHANGED))
        self._say("\n".join((f"$ segops {' '.join(arguments)}", *lines)))
        return output

    async def _until_in_force(self) -> None:
        shown = BackfillProgress(-1, 0)

        def report(rollout: Rollout) -> None:
            nonlocal shown
            found = rollout.progress
            # A partition where the segments are in force has no progress any more.
            if found is not None and found.total >= shown.total and found.read > shown.read:
                shown = found
                self._say(f"history: {found.read:,} of {found.total:,} records read")

        versions = {each.key: each.version for each in self._edited}
        await wait_until_in_force(self._environment.settings, versions, timeout_s=_WAIT_S, progress=report)

    async def _until_received(self) -> None:
        """Wait for the changes of all profiles: partitions answer a scan when each profile is evaluated."""
        keys = [each.key for each in self._edited]
        request = OverlapRequest(tuple(keys))
        overlap: Overlap = (await scan(self._environment.settings, request, wait_s=_WAIT_S)).result
        while any(self._dashboard.segments[key].size != overlap.size(key) for key in keys):
            await asyncio.sleep(_LOOK_S)

    def _published(self, changes: Iterable[Change]) -> Iterator[str]:
        counts = Counter(
            (each.segment_key, each.action, each.reason) for each in changes if each.reason in REASONS
        )
        width = max(len(each.name) for each in self._edited)
        for each in self._edited:
            found = (
                f"{number:,} {action} ({reason})"
                for (key, action, reason), number in sorted(counts.items())
                if key == each.key
            )
            yield f"  {each.name:<{width}}  {', '.join(found)}"
