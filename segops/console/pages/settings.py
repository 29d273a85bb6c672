"""Settings and audit: the settings in force, who is signed in, and what people did and read."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Mapping
from typing import Any, Final

from aiokafka.errors import KafkaError

from segops import __version__
from segops.config import in_force
from segops.console.page import Action, Context, Data, Page, Role
from segops.console.rendering import address
from segops.core.errors import SegopsError
from segops.core.values import MAX_MS, format_instant, parse_instant
from segops.operations.access_audit import Accessed, AccessQuery, read_entries
from segops.schemas.access_audit import AccessEntry

_DAY_MS: Final = 86_400_000
_READ_S: Final = 10.0
_SHOWN: Final = 100
_RANGES: Final = {"1d": 1, "7d": 7, "30d": 30, "all": 0}
_MAY: Final = {
    Role.VIEWER: "Sees everything but personal data, which is masked.",
    Role.EDITOR: "Makes segments and audiences, plans, looks people up.",
    Role.APPROVER: "Approves, holds and releases.",
    Role.ADMIN: "Erases, splits, replays dead letters, reads the audit.",
}


async def _settings(context: Context[Any]) -> Data:
    user = context.user
    return {
        "version": __version__,
        "origin": context.settings.console.address,
        "settings": [
            {"name": name, "value": value, "default": is_default, "about": about}
            for name, value, is_default, about in in_force(context.settings)
        ],
        "user": {"name": user.name, "role": user.role.name.lower(), "login": user.login},
        "roles": [{"name": role.name.lower(), "may": _MAY[role]} for role in Role],
    }


async def _audit(context: Context[Any]) -> Data:
    query, problem = _query_of(context)
    found, missing = Accessed([], None, True, 0), problem
    if not problem:
        try:
            async with asyncio.timeout(_READ_S):
                found = await read_entries(context.settings, query)
        except TimeoutError:
            missing = f"the audit was not read within {_READ_S:.0f} seconds"
        except (SegopsError, KafkaError, OSError) as error:
            missing = str(error)
    asked = {name: context.query.get(name, "") for name in _FILTERS}
    older = "" if found.after is None else address("/settings/audit", {**asked, "before": found.after})
    return {
        "entries": [_row(entry) for _, entry in found.entries],
        "asked": asked,
        "ranges": [*_RANGES],
        "older": older,
        "complete": found.complete,
        "unreadable": found.unreadable,
        "missing": missing,
        "cli": _command(query),
        "curl": f"curl '{context.settings.console.address}{address('/settings/audit.json', asked)}'",
    }


_FILTERS: Final = ("user", "action", "object", "range", "since", "until")


def _query_of(context: Context[Any]) -> tuple[AccessQuery, str]:
    """Return what the address asks for, and what is wrong with it."""
    asked = context.query
    days = _RANGES.get(asked.get("range", "7d"), 7)
    since_ms = context.now_ms - days * _DAY_MS if days else 0
    problems = []
    instants = {}
    for name, default in (("since", since_ms), ("until", MAX_MS)):
        text = asked.get(name, "")
        parsed = parse_instant(text) if text else default
        if parsed is None:
            problems.append(f"{name}: expected an instant like 2026-01-31T00:00:00Z")
        instants[name] = default if parsed is None else parsed
    before = asked.get("before", "")
    query = AccessQuery(
        asked.get("user", "").strip(),
        asked.get("action", "").strip(),
        asked.get("object", "").strip(),
        instants["since"],
        instants["until"],
        int(before) if before.isdecimal() and len(before) < 16 else None,
        _SHOWN,
    )
    return query, "; ".join(problems)


def _row(entry: AccessEntry) -> Mapping[str, Any]:
    kind, _, why = entry.result.partition(": ")
    return {
        "id": entry.id,
        "at_ms": entry.at_ms,
        "user": entry.user,
        "role": entry.role,
        "login": entry.login,
        "address": entry.address,
        "action": entry.action,
        "object": entry.object,
        "data": dict(entry.data),
        "result": kind,
        "why": why,
        "tone": _TONES.get(kind, "warn"),
        "source": entry.source,
    }


_TONES: Final = {"done": "good", "read": "info", "refused": "warn", "failed": "bad", "begun": "warn"}


def _command(query: AccessQuery) -> str:
    given = {"--user": query.user, "--action": query.action, "--object": query.text}
    if query.since_ms:
        given["--since"] = format_instant(query.since_ms)
    if query.until_ms != MAX_MS:
        given["--until"] = format_instant(query.until_ms)
    return shlex.join(
        ["segops", "console", "audit", *(word for pair in given.items() if pair[1] for word in pair)]
    )


PAGES: tuple[Page[Any], ...] = (
    Page("/settings", "settings.html", "Settings", _settings),
    Page("/settings/audit", "audit.html", "Audit", _audit, Role.ADMIN),
)
ACTIONS: tuple[Action[Any, Any], ...] = ()
