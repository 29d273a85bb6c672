"""A read API on loopback whose topics are calls of the view."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import ClientSession
from aiohttp.web import ServerRunner, TCPSite
from prometheus_client import CollectorRegistry

from segops.config import Settings, load
from segops.core.events import Change, IndicatorValue
from segops.core.profile import Profile
from segops.schemas.changes import encode_change
from segops.schemas.indicators import encode_value, value_key
from segops.schemas.state import encode_profile
from segops.serve.keys import load_keys
from segops.serve.metrics import ServeMetrics
from segops.serve.server import ReadServer
from segops.serve.view import Shown, View
from segops.stores.memory import MemoryStores

KEY, OTHER_KEY = "rk-website-1", "rk-app-00001"
SECRET = "sk-5d1c0f9b7e2a4c68b0aa"
ORIGIN, OTHER_ORIGIN, FOREIGN = "https://shop.example", "https://app.example:8443", "https://evil.example"
AS_OF_MS = 1_760_000_000_123
SITES = f"""
version: 1
sites:
  - {{name: website, origins: ["{ORIGIN}"]}}
  - {{name: app, origins: ["{OTHER_ORIGIN}"], identifiers: [anonymous_id], rate: 3}}
"""


def row(profile_id: str, segment: str, *, member: bool, at_ms: int = 1, until_ms: int | None = None) -> bytes:
    """Return the value of a row of the state topic."""
    action = "entered" if member else "exited"
    start = (profile_id, segment, 1, action, member, "event", at_ms, 0, 1, "c", None)
    return encode_change(Change(*start, until_ms, "u", None, "e@x", "{}"), at_ms)


def row_key(profile_id: str, segment: str) -> bytes:
    return f"{profile_id}|{segment}".encode()


def value(profile_id: str, indicator: str, of: Any) -> bytes | None:
    """Return the value of a record of the indicators topic."""
    return encode_value(IndicatorValue(profile_id, indicator, 1, of, "event", 1, None, None, None, None))


def stored(profile_id: str, into: str | None = None) -> bytes:
    """Return a record of the changelog: of a profile with an event, or of one that was merged."""
    return encode_profile(
        Profile(profile_id, merged_into=into) if into else Profile(profile_id, first_ms=1, latest_ms=2)
    )


def filled(view: View) -> None:
    """Ann, who was a visitor, is in an exposed segment and in another one; Bob is in the other one."""
    view.shown = Shown(frozenset({"vip", "secret-plan"}), frozenset({"vip"}), frozenset({"aov"}))
    view.take_profiles(
        {
            b"user_id:ann": stored("user_id:ann"),
            b"anonymous_id:a1": stored("anonymous_id:a1", "user_id:ann"),
            b"email:ann@x": stored("email:ann@x", "user_id:ann"),
            b"user_id:bob": stored("user_id:bob"),
            b"\0definitions": b"1",
        }
    )
    view.take_memberships(
        {
            b"user_id:ann|vip": row("user_id:ann", "vip", member=True, at_ms=5, until_ms=9),
            b"user_id:ann|secret-plan": row("user_id:ann", "secret-plan", member=True),
            b"user_id:bob|secret-plan": row("user_id:bob", "secret-plan", member=True, at_ms=7),
        }
    )
    view.take_indicators(
        {
            value_key("user_id:ann", "aov"): value("user_id:ann", "aov", 12.5),
            value_key("user_id:ann", "retired"): value("user_id:ann", "retired", 1),
        }
    )


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        found: str = self.json["code"]
        assert set(self.json) == {"code", "message"}
        return found


class ReadApi:
    """A server, its view, and a clock that stands still."""

    def __init__(self, settings: Settings) -> None:
        self.view = View(MemoryStores().open(0))
        filled(self.view)
        self.registry = CollectorRegistry()
        self.as_of_ms: int | None = AS_OF_MS
        self.now_s = 0.0
        self.server = ReadServer(
            self.view,
            load_keys(settings.serve, now_s=0.0),
            settings.serve,
            ServeMetrics(self.registry),
            as_of_ms=lambda: self.as_of_ms,
            now_s=lambda: self.now_s,
        )
        self.port = 0
        self.session: ClientSession

    async def get(
        self,
        path: str,
        key: str | None = SECRET,
        *,
        origin: str | None = None,
        method: str = "GET",
        **headers: str,
    ) -> Answer:
        """Send a request with a key in a header, and further headers."""
        if key is not None:
            headers.setdefault("Authorization", f"Bearer {key}")
        if origin is not None:
            headers["Origin"] = origin
        async with self.session.request(
            method, f"http://127.0.0.1:{self.port}{path}", headers=headers
        ) as answer:
            return Answer(answer.status, answer.headers, await answer.read())


def settings_of(folder: Path, **options: object) -> Settings:
    sites = folder / "sites.yaml"
    sites.write_text(SITES)
    given = {
        "keys": f"website={KEY},app={OTHER_KEY}",
        "secret_keys": f"backend={SECRET}",
        "sites_file": sites,
        **options,
    }
    return load(serve=given)


def serve(folder: Path, steps: Callable[[ReadApi], Awaitable[None]], **options: object) -> None:
    """Run ``steps`` against a read API with these options."""

    async def run() -> None:
        api = ReadApi(settings_of(folder, **options))
        runner = ServerRunner(api.server, shutdown_timeout=0.1)
        await runner.setup()
        await TCPSite(runner, "127.0.0.1", 0).start()
        api.port = runner.addresses[0][1]
        try:
            async with asyncio.timeout(20), ClientSession() as api.session:
                await steps(api)
        finally:
            await runner.cleanup()

    asyncio.run(run())


def plain(values: Mapping[str, msgspec.Raw]) -> dict[str, Any]:
    return {name: msgspec.json.decode(each) for name, each in values.items()}


def ids(members: Iterable[Any]) -> list[str]:
    return [each.profile_id for each in members]
