"""Wait until published definitions are in force in all partitions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Final

from segops.analytics.reader import reading_sizes
from segops.analytics.views import Rollout
from segops.config import Settings
from segops.core.errors import SegopsError, UserError
from segops.core.indicators import INDICATOR_PREFIX
from segops.kafka.deadlines import within
from segops.kafka.definitions import read
from segops.operations import group
from segops.operations.definitions import DefinitionChange

_LOOK_EVERY_S: Final = 5.0


class Superseded(UserError):
    """Other definitions of an awaited segment were published."""


class NotInForce(SegopsError):
    """The definitions did not come into force in time. ``rollout``: how far they were."""

    def __init__(self, rollout: Rollout | None, timeout_s: float) -> None:
        parts = [] if rollout is None else rollout.partitions
        missing = ", ".join(str(each.partition) for each in parts if not each.in_force)
        where = f" in the partitions {missing}" if missing else ""
        super().__init__(
            f"the definitions are published, but after {timeout_s:g} s not in force{where}; "
            "workers go on: repeat the command to wait again"
        )
        self.rollout = rollout


async def require_worker(settings: Settings) -> None:
    """Raise UserError if no worker runs."""
    if not (await group.describe(settings)).members:
        name = settings.worker.app_id
        raise UserError(f"nothing was published: no worker of {name} is running, and --wait waits for them")


def versions_of(changes: Iterable[DefinitionChange]) -> dict[str, int]:
    """Return the version that each segment of a publication gets, 0 for retired ones.

    Segments that are left out are not awaited, nor are indicators, which partitions do not report.
    """
    return {
        change.key: 0 if change.action == "retired" else change.version
        for change in changes
        if change.action != "left out" and not change.key.startswith(INDICATOR_PREFIX)
    }


async def wait_until_in_force(
    settings: Settings,
    versions: Mapping[str, int],
    *,
    timeout_s: float | None,
    progress: Callable[[Rollout], None] = lambda _: None,
) -> Rollout:
    """Return as soon as all partitions evaluate by these versions of segments, or later ones; 0: retired.

    Raises NotInForce after ``timeout_s`` seconds (None: never), Superseded if other definitions of a segment
    are published meanwhile, and what ``reading_sizes`` raises.
    """
    found: Rollout | None = None

    def look(rollout: Rollout) -> None:
        nonlocal found
        found = rollout
        progress(rollout)

    try:
        async with within(timeout_s) as check:
            return await _follow(settings, versions, look, check)
    except TimeoutError:
        raise NotInForce(found, timeout_s or 0) from None


async def _follow(
    settings: Settings,
    versions: Mapping[str, int],
    look: Callable[[Rollout], None],
    check: Callable[[], None],
) -> Rollout:
    now = asyncio.get_running_loop().time
    looked_s = now()
    async with reading_sizes(settings) as reader, aclosing(reader.changes()) as all_changed:
        while not (found := reader.folded.rollout(versions)).complete:
            look(found)
            if now() >= looked_s + _LOOK_EVERY_S:
                await _check_latest(settings, versions)
                looked_s = now()
            await anext(all_changed)
            check()
    look(found)
    return found


async def _check_latest(settings: Settings, versions: Mapping[str, int]) -> None:
    log = await read(settings, on_bad=lambda _: None)
    latest = {key: each.version for key, each in log.live.items()}
    changed = sorted(key for key, version in versions.items() if latest.get(key, 0) != version)
    if changed:
        names = ", ".join(map(repr, changed))
        raise Superseded(f"other definitions of {names} were published meanwhile: no longer waiting")
