"""The stand-in refuses what Klaviyo's contract does not allow."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import ClientSession

from segops.core.errors import UserError
from segops.klaviyo.client import REVISION
from tests.klaviyo.objects import add_profile
from tests.klaviyo.stand_in import KEY, StandIn
from tests.klaviyo.virtual_time import run

HEADERS = {"Authorization": f"Klaviyo-API-Key {KEY}", "revision": REVISION}
SORTED = {"sort": "datetime"}


def ask(path: str, params: dict[str, str], headers: dict[str, str], times: int = 1) -> list[int]:
    async def main() -> list[int]:
        found = StandIn()
        add_profile(found, "P1", 1_790_000_000_000)
        async with found.serving() as url, ClientSession() as session:

            async def one() -> int:
                async with session.get(url + path, params=params, headers=headers) as response:
                    return response.status

            return sorted(await asyncio.gather(*(one() for _ in range(times))))

    return run(main())


@pytest.mark.parametrize(
    ("path", "params", "headers", "status"),
    [
        ("/api/events", SORTED, HEADERS, 200),
        ("/api/profiles", {"sort": "updated", "page[size]": "100"}, HEADERS, 200),
        ("/api/events", SORTED, {"revision": REVISION}, 401),
        ("/api/events", SORTED, {**HEADERS, "revision": "2020-01-01"}, 400),
        ("/api/events", {**SORTED, "page[size]": "1001"}, HEADERS, 400),
        ("/api/profiles", {"sort": "updated", "page[size]": "101"}, HEADERS, 400),
        ("/api/events", {**SORTED, "page_size": "10"}, HEADERS, 400),
        ("/api/events", {**SORTED, "fields[event]": "datetime,name"}, HEADERS, 400),
        ("/api/events", {**SORTED, "filter": "greater-than(datetime,yesterday)"}, HEADERS, 400),
        ("/api/events", {**SORTED, "filter": "contains(datetime,2026-01-01)"}, HEADERS, 400),
        ("/api/events", {**SORTED, "filter": "greater-than(datetime,2026-01-01"}, HEADERS, 400),
        ("/api/profiles", {"sort": "updated", "filter": "less-or-equal(updated,2026-01-01)"}, HEADERS, 400),
        ("/api/events", {**SORTED, "page[cursor]": "c0-7"}, HEADERS, 400),
    ],
)
def test_requests_are_checked(
    path: str, params: dict[str, str], headers: dict[str, str], status: int
) -> None:
    assert ask(path, params, headers) == [status]


def test_more_requests_than_a_window_allows_are_refused() -> None:
    assert ask("/api/profiles", {"sort": "updated"}, HEADERS, times=80) == [200] * 75 + [429] * 5


def test_settings_refuse_addresses_where_the_key_could_be_read() -> None:
    from segops import config

    for url in ("http://a.klaviyo.com", "https://a.klaviyo.com/api", "https://u:p@a.klaviyo.com", "ftp://x"):
        with pytest.raises(UserError, match="SEGOPS_KLAVIYO_URL: expected https"):
            config.load(klaviyo={"url": url})
    for url in ("https://a.klaviyo.com", "http://127.0.0.1:8080", "http://[::1]:1", "http://localhost"):
        assert config.load(klaviyo={"url": url}).klaviyo.url == url
