"""The pages of a process beside the workers."""

from __future__ import annotations

from urllib.error import HTTPError
from urllib.request import urlopen


def page(port: int, path: str) -> str:
    """Return the body of a page, whatever its status; nothing if the process does not answer."""
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return str(answer.read().decode())
    except HTTPError as error:
        return error.read().decode()
    except OSError:
        return ""
