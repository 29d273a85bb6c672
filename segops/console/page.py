"""What a page and an action of the console are.

A page is a function from a request's context to plain data. The server shows these data twice: through the
page's template at its path, and as JSON at the path followed by ``.json`` (``/index.json`` for ``/``). An
action is a form that a signed-in person submits; the server checks the person's role and the request's origin
and token, writes the audit record, and answers with a redirection or, to a script, with JSON. A stream is a
live page: server-sent events for as long as the browser listens.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

from pydantic import BaseModel

from segops.config import Settings

#: A page's data: anything that ``msgspec.json`` encodes. Times are integers in milliseconds, named ``*_ms``.
Data = Mapping[str, Any]

B = TypeVar("B")
F = TypeVar("F", bound=BaseModel)


class Role(IntEnum):
    """What a person may do; each role may do all that a lower one may.

    >>> Role.APPROVER > Role.EDITOR
    True
    """

    VIEWER = 1  # sees everything but personal data, which is masked
    EDITOR = 2  # makes segments and audiences, plans, looks people up
    APPROVER = 3  # approves, holds and releases
    ADMIN = 4  # erases, splits, replays dead letters


@dataclass(frozen=True)
class User:
    """Who made a request; ``login``: ``open``, ``password``, ``token``, ``proxy`` or ``oidc``."""

    name: str
    role: Role
    login: str

    @property
    def sees_personal_data(self) -> bool:
        return self.role >= Role.EDITOR


Audit = Callable[[str, Data], Awaitable[None]]


async def _no_audit(name: str, data: Data) -> None:
    raise RuntimeError(f"no audit takes {name}")


@dataclass(frozen=True)
class Context(Generic[B]):
    """A request: who asks, when, for what; ``board`` is the read model.

    ``await context.audit(name, data)`` writes who read what of a person, before it is shown: nothing secret.
    It raises NotAudited, which the server answers, when the record cannot be written.
    """

    settings: Settings
    board: B
    user: User
    now_ms: int
    #: What the path names, decoded: {"key": "vip"} for ``/segments/{key}``.
    arguments: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    query: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    audit: Audit = _no_audit


class NotAudited(Exception):
    """The audit cannot be written: nothing is changed, and nothing personal shown."""


class Conflict(Exception):
    """What the person saw is no longer so; ``data`` says what differs."""

    def __init__(self, message: str, data: Data = MappingProxyType({})) -> None:
        super().__init__(message)
        self.data = data


class NotFound(Exception):
    """What the path names does not exist; the message says what is missing."""


@dataclass(frozen=True)
class Page(Generic[B]):
    """A page at ``path``, by ``templates/<template>``; ``role`` may see it. Without a template: JSON only.

    ``path`` may name arguments, as ``/segments/{key}``. The fields of the data are the template's variables.
    """

    path: str
    template: str
    title: str
    view: Callable[[Context[B]], Awaitable[Data]]
    role: Role = Role.VIEWER


@dataclass(frozen=True)
class Done:
    """An action's outcome: where the browser goes on, a sentence for the person, and data for scripts."""

    location: str
    message: str
    data: Data = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Action(Generic[B, F]):
    """A form posted to ``path``; ``name`` is its name in the audit log (``segment.publish``).

    ``run`` raises UserError for what the person can mend: the server shows its text beside the form (422),
    and Conflict (409) if the object was changed since the person saw it.
    """

    path: str
    name: str
    form: type[F]
    run: Callable[[Context[B], F], Awaitable[Done]]
    role: Role
    #: Returns what is written to the audit log of the form; nothing personal, nothing secret.
    noted: Callable[[F], Data] = lambda form: form.model_dump(mode="json")
    #: Whether it changes anything. One that only computes is not written to the audit log.
    changes: bool = True


@dataclass(frozen=True)
class Stream(Generic[B]):
    """Server-sent events at ``path``.

    ``open`` gets the context and the id of the last event that the browser had (its header, or empty). It
    yields encoded messages, which may be shared between browsers; the server closes it when the browser goes,
    does not read for a while, or its session ends.
    """

    path: str
    open: Callable[[Context[B], str], AsyncGenerator[bytes, None]]
    role: Role = Role.VIEWER


#: Navigation: path and label, in order; pages that are not listed are reached from others.
NAVIGATION: Final = (
    ("/", "Overview"),
    ("/segments", "Segments"),
    ("/builder", "Builder"),
    ("/studio", "Studio"),
    ("/plans", "Plans"),
    ("/people", "People"),
    ("/rfm", "RFM"),
    ("/lifecycle", "Lifecycle"),
    ("/audiences", "Audiences"),
    ("/destinations", "Destinations"),
    ("/data", "Data"),
    ("/settings", "Settings"),
)
