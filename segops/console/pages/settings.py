"""Settings and audit: the settings in force, who is signed in, and what people did and read."""

from __future__ import annotations

from typing import Any

from segops import __version__
from segops.config import in_force
from segops.console.page import Action, Context, Data, Page, Role


async def _settings(context: Context[Any]) -> Data:
    return {
        "version": __version__,
        "origin": context.settings.console.address,
        "settings": [
            {"name": name, "value": value, "default": is_default, "about": about}
            for name, value, is_default, about in in_force(context.settings)
        ],
        "user": {
            "name": context.user.name,
            "role": context.user.role.name.lower(),
            "login": context.user.login,
        },
        "roles": [{"name": role.name.lower(), "may": _MAY[role]} for role in Role],
    }


_MAY = {
    Role.VIEWER: "Sees everything but personal data, which is masked.",
    Role.EDITOR: "Makes segments and audiences, plans, looks people up.",
    Role.APPROVER: "Approves, holds and releases.",
    Role.ADMIN: "Erases, splits, replays dead letters, reads the audit.",
}

PAGES: tuple[Page[Any], ...] = (Page("/settings", "settings.html", "Settings", _settings),)
ACTIONS: tuple[Action[Any, Any], ...] = ()
