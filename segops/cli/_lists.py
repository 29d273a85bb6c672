"""Static lists as files on the command line: ``--list KEY=FILE``."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import click

from segops.cli._bad_lines import BadLines
from segops.core.rules.model import ListInForce
from segops.imports.ids import IdFile
from segops.replay import Replay
from segops.schemas.identifying import IdentityLimits
from segops.schemas.segment_reading import KEY_PATTERN


class NamedFile(NamedTuple):
    """The key of a list, the type of its identifiers, and the file that has them."""

    key: str
    kind: str
    path: Path


class ListFile(click.ParamType):
    """A ``NamedFile``, written ``KEY=FILE`` or ``KEY:TYPE=FILE``."""

    name = "KEY=FILE"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> NamedFile:
        """Return the parts of ``value``."""
        name, _, path = value.partition("=")
        key, _, kind = name.partition(":")
        if not re.fullmatch(KEY_PATTERN, key) or not path:
            self.fail(f"expected KEY=FILE, such as vip=vip.txt, got {value!r}", param, ctx)
        if not Path(path).is_file():
            self.fail(f"no such file: {path!r}", param, ctx)
        return NamedFile(key, kind or "user_id", Path(path))


#: The option ``--list``, as ``lists``.
LISTS = click.option(
    "--list",
    "lists",
    multiple=True,
    type=ListFile(),
    help="Static list, and a file with an identifier per line: a user_id, or with KEY:TYPE=FILE of another "
    "type; may be repeated.",
)


def in_force(lists: Iterable[NamedFile]) -> dict[str, ListInForce]:
    """Return what rules read of these lists: their first version, without an end."""
    return {each.key: ListInForce(1) for each in lists}


def put_on_lists(replay: Replay, lists: Iterable[NamedFile], limits: IdentityLimits) -> None:
    """Put the identifiers of some files on their lists, as version 1. Raises UserError for a wrong file."""
    for each in lists:
        with BadLines(each.path) as bad:
            for identifier in IdFile(each.path, each.kind, limits).identifiers(bad.add):
                deque(replay.put_on_list(identifier, each.key), maxlen=0)
