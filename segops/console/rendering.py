"""Pages as HTML: the templates, what they may call, and how figures and times are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from segops.console.assets import Assets
from segops.console.page import NAVIGATION, Data, Role, User
from segops.core.values import format_instant

_TEMPLATES: Final = Path(__file__).parent / "templates"
_UNITS: Final = ((86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1_000, "second"))


@dataclass(frozen=True)
class Frame:
    """What each page shows around its data: the variable ``page`` of templates.

    ``path``: of the request, with ``query``. ``csrf``: the token that forms post as ``csrf``. ``said``: the
    message of the action that led here. ``errors``, by field, and ``error`` are of a form that was refused;
    ``values`` is what the person had written.
    """

    title: str
    path: str
    now_ms: int
    user: User | None = None
    query: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    csrf: str = ""
    said: str = ""
    notice: str = ""
    error: str = ""
    errors: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    values: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    json: str = ""

    @property
    def navigation(self) -> Sequence[tuple[str, str, bool]]:
        """Path, label, and whether the page shown belongs to it, of each entry."""
        return [(path, label, _within(self.path, path)) for path, label in NAVIGATION]

    def may(self, role: str) -> bool:
        """Return whether the user has a role, named in lower case."""
        return self.user is not None and self.user.role >= Role[role.upper()]

    def with_query(self, **changed: object) -> str:
        """Return the address of this page with parameters replaced; None and "" remove one."""
        return address(self.path, {**self.query, **changed})


class Renderer:
    """Renders templates with data."""

    def __init__(self, assets: Assets, folder: Path = _TEMPLATES) -> None:
        self.assets = assets
        self._environment = environment = Environment(
            loader=FileSystemLoader(folder),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        environment.globals.update(static=assets.url, address=address, segment=quoted)
        environment.filters.update(
            number=number, compact=compact, percent=percent, duration=duration, instant=instant, quoted=quoted
        )

    def page(self, template: str, data: Data, frame: Frame) -> str:
        """Return a page as HTML. Its data are variables by their names; ``page`` is the frame."""
        return self._environment.get_template(template).render({**data, "page": frame})


def _within(path: str, entry: str) -> bool:
    return path == entry or (entry != "/" and path.startswith(f"{entry}/"))


def quoted(text: object) -> str:
    """Quote a text as one segment of a path.

    >>> quoted("user_id:a/b?")
    'user_id%3Aa%2Fb%3F'
    """
    return quote(str(text), safe="")


def address(path: str, query: Mapping[str, object]) -> str:
    """Return a path with parameters, leaving out those that are None or empty.

    >>> address("/segments", {"q": "a&b", "page": 2, "tag": None})
    '/segments?q=a%26b&page=2'
    """
    given = {name: value for name, value in query.items() if value not in (None, "")}
    encoded = quote(path, safe="/:@!$&'()*+,;=-._~")
    return f"{encoded}?{urlencode(given)}" if given else encoded


def number(value: float | None, digits: int = 0) -> str:
    """Write a figure with separators; a missing one as a dash.

    >>> number(1234567), number(0.1234, 2), number(None)
    ('1,234,567', '0.12', '–')
    """
    return "–" if value is None else f"{value:,.{digits}f}"


def compact(value: float | None) -> str:
    """Write a figure short.

    >>> compact(950), compact(12_345), compact(4_200_000), compact(None)
    ('950', '12.3k', '4.2M', '–')
    """
    if value is None:
        return "–"
    for least, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= least:
            return f"{value / (1e3 if unit == 'k' else least):.1f}{unit}"
    return number(value)


def percent(share: float | None, digits: int = 1) -> str:
    """Write a share of 1 in percent.

    >>> percent(0.1234), percent(None)
    ('12.3 %', '–')
    """
    return "–" if share is None else f"{100 * share:,.{digits}f} %"


def duration(span_ms: int | None) -> str:
    """Write a span in its two largest units.

    >>> duration(90_061_000), duration(61_000), duration(450), duration(None)
    ('1 day 1 hour', '1 minute 1 second', '450 ms', '–')
    """
    if span_ms is None:
        return "–"
    words, rest = [], abs(span_ms)
    for unit_ms, unit in _UNITS:
        count, rest = divmod(rest, unit_ms)
        if count:
            words.append(f"{count} {unit}{'s' * (count != 1)}")
    return " ".join(words[:2]) or f"{rest} ms"


def instant(at_ms: int | None) -> str:
    """Write an instant in UTC; JavaScript shows it in the browser's time zone.

    >>> instant(1764269326000), instant(None)
    ('2025-11-27T18:48:46.000Z', '–')
    """
    return "–" if at_ms is None else format_instant(at_ms)
