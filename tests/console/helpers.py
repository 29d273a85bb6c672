"""The console in the process of a test: its application, a browser with cookies, and an audit in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from aiohttp import CookieJar
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from segops import config
from segops.console.access.guard import Guard
from segops.console.access.oidc import Oidc
from segops.console.answers import Answers
from segops.console.assets import Assets
from segops.console.connections import Connections
from segops.console.metrics import ConsoleMetrics
from segops.console.page import NotAudited
from segops.console.pages import ACTIONS, PAGES, STREAMS
from segops.console.rendering import Renderer
from segops.console.routes import Routes
from segops.console.server import Console, Tables
from segops.console.sign_in import SignIn
from segops.console.visits import Visits
from segops.schemas.access_audit import AccessEntry

NOW_MS = 1_795_805_000_000
#: All that the console has.
EVERYTHING = Tables(PAGES, ACTIONS, STREAMS)


class Clock:
    """A wall clock that a test moves."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def __call__(self) -> int:
        return self.now_ms


@dataclass
class MemoryAudit:
    """Entries of the audit; while it is ``down`` nothing can be written."""

    entries: list[AccessEntry] = field(default_factory=list)
    down: bool = False

    async def write(self, entry: AccessEntry) -> None:
        if self.down:
            raise NotAudited("the audit cannot be written: Kafka is away")
        self.entries.append(entry)

    @property
    def said(self) -> list[tuple[str, str]]:
        """The action and the result of each entry."""
        return [(entry.action, entry.result) for entry in self.entries]


@dataclass
class Answer:
    """What the console answered."""

    status: int
    headers: Mapping[str, str]
    text: str
    cookies: Mapping[str, Any]

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class Browser:
    """A browser on the console. It follows no redirection by itself, and sends what browsers send."""

    client: TestClient[Any, Any]
    audit: MemoryAudit
    clock: Clock
    registry: CollectorRegistry

    async def get(self, path: str, **headers: str) -> Answer:
        """Open an address; ``headers`` are named with underscores."""
        return await self.send("GET", path, headers=headers)

    async def post(
        self, path: str, fields: Mapping[str, Any] | None = None, *, script: bool = False, **headers: str
    ) -> Answer:
        """Post a form with a token, as a page would; ``script``: as JSON, by fetch."""
        token = (await self.get("/session.json")).json.get("csrf", "")
        return await self.submit(path, {**(fields or {})}, token=token, script=script, **headers)

    async def submit(
        self, path: str, fields: Mapping[str, Any], *, token: str = "", script: bool = False, **headers: str
    ) -> Answer:
        """Post a form with a token of the test's choice."""
        origin = str(self.client.make_url("/").origin())
        sent = {"Origin": origin, "Sec-Fetch-Site": "same-origin", **_named(headers)}
        if script:
            sent |= {"Accept": "application/json", "X-CSRF-Token": token}
            return await self.send("POST", path, headers=sent, json=dict(fields))
        return await self.send("POST", path, headers=sent, data={**fields, "csrf": token})

    async def send(self, method: str, path: str, *, headers: Mapping[str, str], **body: Any) -> Answer:
        """Send any request."""
        async with self.client.request(
            method, path, headers=_named(headers), allow_redirects=False, **body
        ) as response:
            text = await response.text()
            return Answer(response.status, response.headers, text, response.cookies)


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items() if value}


def serve(
    steps: Callable[[Browser], Awaitable[None]],
    *,
    tables: Tables | None = None,
    board: Any = None,
    audit: MemoryAudit | None = None,
    **settings: object,
) -> None:
    """Run ``steps`` against a console with these settings of the section ``console``: open by default."""
    asyncio.run(served(steps, settings, tables=tables, board=board, audit=audit))


@cache
def rendering() -> Renderer:
    """Return the templates, compiled once for all tests."""
    return Renderer(Assets())


async def served(
    steps: Callable[[Browser], Awaitable[None]],
    given: Mapping[str, object],
    *,
    tables: Tables | None = None,
    board: Any = None,
    audit: MemoryAudit | None = None,
) -> None:
    """Run ``steps`` in a loop that runs already."""
    tables, audit = tables or EVERYTHING, audit or MemoryAudit()
    settings, clock, registry = config.load(console=given), Clock(), CollectorRegistry()
    renderer, guard = rendering(), Guard(settings.console)
    visits = Visits(guard, Answers(renderer, guard), clock)
    routes = Routes(settings, board, visits, audit, ConsoleMetrics(registry))
    metrics = routes.metrics
    oidc = Oidc(settings.console, guard.signer, now_ms=clock) if guard.logins.oidc else None
    sign_in = SignIn(visits, audit, metrics, oidc)
    app = Console(routes, sign_in, tables, 10, Connections(1_000), renderer.assets).application()
    async with TestClient(TestServer(app), cookie_jar=CookieJar(unsafe=True)) as client:
        await steps(Browser(client, audit, clock, registry))


def entries_of(audit: MemoryAudit, action: str) -> Sequence[AccessEntry]:
    """Return the entries of one action."""
    return [entry for entry in audit.entries if entry.action == action]


#: The scrypt hash of this password, of the least strength that is taken.
PASSWORD = "correct horse"
HASH = "scrypt$14$8$1$MDEyMzQ1Njc4OWFiY2RlZg==$0LupyHkzAIgDr9UDsriAAf87vMbCbcaUfDvFOAHk0D0="
USERS = ",".join(f"{role}:{role}:{HASH}" for role in ("viewer", "editor", "approver", "admin"))
TOKEN = "a-token-of-the-tests"
#: A proxy on loopback that signs people in: the quickest way to any role.
PROXY = {
    "trusted_proxies": "127.0.0.1",
    "proxy_user_header": "X-User",
    "proxy_role_header": "X-Role",
}


def as_user(role: str, name: str = "ann") -> dict[str, str]:
    """Return the headers of the proxy for a user."""
    return {"X_User": name, "X_Role": role}


async def login(browser: Browser, **fields: str) -> Answer:
    """Fill in the sign-in page, and post it with its token."""
    page = await browser.get("/login")
    token = page.text.partition('name="csrf" value="')[2].partition('"')[0]
    return await browser.submit("/login", fields, token=token)


async def login_as(browser: Browser, name: str) -> Answer:
    """Sign in as one of the local users."""
    return await login(browser, name=name, password=PASSWORD)
