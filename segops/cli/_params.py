"""Types of options that several commands share."""

from __future__ import annotations

import click

from segops.core.values import parse_instant


class Instant(click.ParamType):
    """An ISO-8601 instant, as milliseconds."""

    name = "ISO"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The milliseconds of ``value``."""
        found = parse_instant(value)
        if found is None:
            self.fail(f"{value!r} is no ISO-8601 instant, such as 2026-01-31T00:00:00Z", param, ctx)
        return found


INSTANT = Instant()
