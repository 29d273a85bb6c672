"""Option types that several commands share."""

from __future__ import annotations

import click

from segops.core.errors import UserError
from segops.core.values import parse_instant


class Instant(click.ParamType):
    """An ISO-8601 instant, as milliseconds."""

    name = "ISO"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return ``value`` in milliseconds since 1970."""
        found = parse_instant(value)
        if found is None:
            self.fail(f"expected an ISO-8601 instant like 2026-01-31T00:00:00Z, got {value!r}", param, ctx)
        return found


INSTANT = Instant()


def identifier_of(text: str) -> str:
    """Return an identifier as profiles have it. Raises UserError if it has no type or value.

    >>> identifier_of("email:Ann@Example.com"), identifier_of("user_id:Ann")
    ('email:ann@example.com', 'user_id:Ann')
    """
    kind, colon, value = text.partition(":")
    if not (kind and colon and value):
        raise UserError(f"expected an identifier <type>:<value> like user_id:ann, got {text!r}")
    return f"{kind}:{value.lower()}" if kind == "email" else text
