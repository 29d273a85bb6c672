"""The edit that the demo publishes half-way: planned, applied, and followed until it is in force."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from time import monotonic
from typing import Final

from segops.core.backfill import BACKFILL
from segops.core.errors import SegopsError
from segops.core.events import Change
from segops.core.scans import Overlap
from segops.core.segments import Definition, edited
from segops.core.values import format_instant
from segops.demo.commands import Commands
from segops.demo.dashboard import DashboardState
from segops.demo.environment import Environment
from segops.operations.rollout import wait_until_in_force
from segops.operations.scans import scan
from segops.processes import pages
from segops.schemas.model_files import load_models
from segops.schemas.scans import OverlapRequest
from segops.schemas.segments import load_drafts

_LOOK_S: Final = 0.2
_WAIT_S: Final = 120.0
_LEFT: Final = "segops_backfill_records_left"
_SUGGESTION: Final = re.compile(r"^to publish it: segops (apply .+)$", re.MULTILINE)
_REPORT_EVERY_S: Final = 1.0
#: Begins lines that are not shown: of segments that stay the same, and of progress, which is shown at once.
_LEFT_OUT: Final = re.compile(r"= |history: |\d+ of \d+ partitions")
#: The reasons of the changes that a publication itself makes.
REASONS: Final = (BACKFILL, "definition")


class Edit:
    """An edit of the example segments. ``say`` prints what a user sees who publishes it by hand.

    ``ports``: of the workers' pages.
    """

    def __init__(
        self,
        environment: Environment,
        dashboard: DashboardState,
        say: Callable[[str], None],
        *,
        ports: Sequence[int],
    ) -> None:
        self._environment = environment
        self._dashboard = dashboard
        self._say = say
        self._ports = ports
        self._left = 0
        self._report_at = 0.0
        former = {each.key: each for each in environment.definitions}
        models = load_models([environment.model_file] if environment.predicts else [])
        after = edited(former.values(), load_drafts(environment.later_folders, models).definitions)
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
        for folder in self._environment.later_folders:
            shutil.copytree(folder, self._environment.segments_folder, dirs_exist_ok=True)
        if self._environment.predicts:
            await self._run("models", "publish", self._environment.model_file.name, "--yes")
        planned = await self._run("plan", "segments/")
        suggested = _SUGGESTION.search(planned)
        if suggested is None:
            raise SegopsError(f"segops plan names no command to publish the plan:\n{planned}")
        await self._run(*suggested[1].split())
        began = self._dashboard.elapsed_s
        versions = {each.key: each.version for each in self._edited}
        await wait_until_in_force(self._environment.settings, versions, timeout_s=_WAIT_S)
        await self._until_received()
        self._say(f"in force after {self._dashboard.elapsed_s - began:.1f} s; published:")
        for line in self._published(changes.values()):
            self._say(line)
        self._say("")

    async def _run(self, *arguments: str) -> str:
        """Run a command; show the history that it waits for."""
        commands = Commands(self._environment, self._say)
        return await commands.run(*arguments, meanwhile=self._show_history, left_out=_LEFT_OUT)

    async def _show_history(self) -> None:
        if monotonic() < self._report_at:
            return
        self._report_at = monotonic() + _REPORT_EVERY_S
        left = await pages.total(self._ports, _LEFT)
        if left and left != self._left:
            self._say(f"history: {left:,} records left to read")
        self._left = left

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
