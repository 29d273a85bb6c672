"""Addresses of pages of people, and the requests that show the same elsewhere."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from segops.console.page import Context


def link(path: str, query: Mapping[str, object] | None = None) -> str:
    """Return a path, quoted already, with parameters, leaving out those that are None or empty.

    >>> link("/people/user_id%3Aann", {"tab": "past", "why": ""})
    '/people/user_id%3Aann?tab=past'
    """
    given = {name: value for name, value in (query or {}).items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path


def curl_of(context: Context[Any], path: str, query: Mapping[str, object]) -> str:
    """Return the command that reads a page's data; ``path`` is quoted already."""
    return f"curl {shlex.quote(context.settings.console.address + link(f'{path}.json', query))}"
