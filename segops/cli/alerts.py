"""``segops alerts``: which alerts of segments fire, and which have fired."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Final

import click
import msgspec

from segops.analytics.alert_log import AlertLog, AlertsView, reading_alerts
from segops.cli._params import watchable
from segops.cli._refresh import refresh, run_shown
from segops.cli._say import say_blocks, say_text, table
from segops.config import Settings
from segops.core.values import format_instant
from segops.schemas.alerts import AlertRecord

if TYPE_CHECKING:
    from rich.table import Table

_EPILOG = """
\b
Examples:
  segops alerts
  segops alerts --firing
  segops alerts --watch
"""
_COLUMNS: Final = ("segment", "alert", "state", "since", "until", "number", "earlier")


@click.command(epilog=_EPILOG)
@click.option("--firing", is_flag=True, help="Show only the alerts that fire now.")
@watchable("the alerts", each="line and changed alert")
def command(firing: bool, watch: bool, form: str) -> None:
    """Show the alerts of all segments that fire, and those that have fired, each with its latest crossing.

    NUMBER is the number of members, or of entries or exits within the window of the alert, when it began to
    fire or recovered; EARLIER is the number of members one window earlier. An alert that never fired is not
    listed.
    """
    run_shown(lambda settings: _show(settings, firing=firing, watch=watch, json=form == "json"), watch=watch)


async def _show(settings: Settings, *, firing: bool, watch: bool, json: bool) -> None:
    async with reading_alerts(settings) as reader:
        alerts = reader.folded
        if watch:
            lines = _Lines(alerts, firing=firing, json=json)
            await refresh(reader, lambda: _frame(alerts.view(firing=firing)), lines.changed, plain=json)
        elif json:
            say_text(msgspec.json.format(msgspec.json.encode(alerts.view(firing=firing)), indent=2).decode())
        else:
            say_blocks(_frame(alerts.view(firing=firing)))


class _Lines:
    """A line for each alert whose record has changed."""

    def __init__(self, alerts: AlertLog, *, firing: bool, json: bool) -> None:
        self._alerts = alerts
        self._firing = firing
        self._json = json
        self._shown: dict[str, AlertRecord] = {}

    def changed(self, keys: Collection[str] | None) -> Iterator[str]:
        """Yield the lines; only of alerts in ``keys``, unless that is None.

        Of those that fire only: also when one has recovered that was shown.
        """
        for key in sorted(self._alerts.latest if keys is None else keys):
            found = self._alerts.latest.get(key)
            if found is None or found == self._shown.get(key):
                continue
            is_new = key not in self._shown and found.state != "firing"
            self._shown[key] = found
            if not (self._firing and is_new):
                yield msgspec.json.encode(found).decode() if self._json else _line(found)


def _line(found: AlertRecord) -> str:
    earlier = "" if found.former is None else f", {found.former:,} earlier"
    about = f"{found.segment_key}  {found.alert}  {found.state}"
    return f"{format_instant(found.at_ms)}  {about}  {found.number:,}{earlier}"


def _frame(view: AlertsView) -> list[str | Table]:
    if view.evaluated_ms is None:
        return ["no alerts are evaluated yet"]
    head = f"evaluated until {format_instant(view.evaluated_ms)}"
    if not view.alerts:
        return [f"{head}: no alerts"]
    rows = sorted(view.alerts, key=lambda each: (each.state != "firing", -each.at_ms))
    return [head, "", table(_COLUMNS, map(_row, rows), figures=_COLUMNS[-2:])]


def _row(found: AlertRecord) -> tuple[str, ...]:
    return (
        found.segment_key,
        found.alert,
        found.state,
        format_instant(found.since_ms),
        "–" if found.state == "firing" else format_instant(found.at_ms),
        f"{found.number:,}",
        "–" if found.former is None else f"{found.former:,}",
    )
