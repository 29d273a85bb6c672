"""Who gets in, by which way, and what each role may: for every page, its JSON, every action and stream."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import BaseModel

from segops.console.page import Action, Context, Data, Done, Page, Role, Stream
from segops.console.routes import json_path
from segops.console.server import OWN_ROUTES, Tables

from .helpers import EVERYTHING, PROXY, Browser, as_user, serve

ROLES = [role.name.lower() for role in Role]


class Empty(BaseModel):
    pass


async def shown(_context: Context[Any]) -> Data:
    return {"status": 0, "message": "the secret figure"}


async def done(_context: Context[Any], _form: Empty) -> Done:
    return Done("/", "Done.")


async def events(_context: Context[Any], _last: str) -> Any:
    yield b"data: 1\n\n"


#: A page, an action and a stream of each role, beside all that the console has.
OF_ROLES = Tables(
    [*EVERYTHING.pages, *(Page(f"/page-{role.name}", "error.html", "A", shown, role) for role in Role)],
    [*EVERYTHING.actions, *(Action(f"/do-{role.name}", "a.do", Empty, done, role) for role in Role)],
    [*EVERYTHING.streams, *(Stream(f"/stream-{role.name}", events, role) for role in Role)],
)


def path_of(path: str) -> str:
    return re.sub(r"\{\w+\}", "x", path)


def below(role: Role) -> list[str]:
    return [each.name.lower() for each in Role if each < role]


@pytest.mark.parametrize("page", OF_ROLES.pages, ids=lambda page: page.path)
def test_no_page_is_shown_without_its_role(page: Page[Any]) -> None:
    async def steps(browser: Browser) -> None:
        path, twin = path_of(page.path), path_of(json_path(page.path))
        if page.template:
            answer = await browser.get(path)
            assert answer.status == 303 and answer.headers["Location"].startswith("/login")
        assert (await browser.get(twin)).status == 401
        for role in below(page.role):
            for address in (path, twin) if page.template else (twin,):
                answer = await browser.get(address, **as_user(role))
                assert answer.status == 403, (address, role)
                assert f"needs the role {page.role.name.lower()}" in answer.text
                assert "the secret figure" not in answer.text

    serve(steps, tables=OF_ROLES, **PROXY)


@pytest.mark.parametrize("action", OF_ROLES.actions, ids=lambda action: action.path)
def test_nothing_is_done_without_the_role(action: Action[Any, Any]) -> None:
    async def steps(browser: Browser) -> None:
        path = path_of(action.path)
        assert (await browser.submit(path, {})).status == (401 if path.endswith(".json") else 303)
        assert (await browser.submit(path, {}, script=True)).status == 401
        for role in below(action.role):
            token = (await browser.get("/session.json", **as_user(role))).json["csrf"]
            for script in (False, True):
                answer = await browser.submit(path, {}, token=token, script=script, **as_user(role))
                assert answer.status == 403, role
        assert browser.audit.entries == []

    serve(steps, tables=OF_ROLES, **PROXY)


@pytest.mark.parametrize("stream", OF_ROLES.streams, ids=lambda stream: stream.path)
def test_no_stream_is_opened_without_its_role(stream: Stream[Any]) -> None:
    async def steps(browser: Browser) -> None:
        path = path_of(stream.path)
        assert (await browser.get(path)).status == 303
        for role in below(stream.role):
            assert (await browser.get(path, **as_user(role))).status == 403

    serve(steps, tables=OF_ROLES, **PROXY)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_all_that_lower_ones_may(role: str) -> None:
    async def steps(browser: Browser) -> None:
        user = as_user(role)
        token = (await browser.get("/session.json", **user)).json["csrf"]
        for each in Role:
            allowed = each <= Role[role.upper()]
            page = await browser.get(f"/page-{each.name}", **user)
            assert page.status == (200 if allowed else 403)
            did = await browser.submit(f"/do-{each.name}", {}, token=token, **user)
            assert did.status == (303 if allowed else 403)

    serve(steps, tables=OF_ROLES, **PROXY)


def test_other_routes_are_not_for_strangers_either() -> None:
    async def steps(browser: Browser) -> None:
        assert (await browser.get("/session.json")).status == 401
        assert (await browser.submit("/logout", {})).status == 303
        assert (await browser.get("/login")).status == 200
        known = {path for each in browser.client.app.router.resources() for path in [each.canonical]}
        tables = {
            each.path for table in (OF_ROLES.pages, OF_ROLES.actions, OF_ROLES.streams) for each in table
        }
        tables |= {json_path(page.path) for page in OF_ROLES.pages}
        own = {route.partition(" ")[2] for route in OWN_ROUTES}
        assert known - tables == {path for path in own if not path.startswith("/oidc/")}

    serve(steps, tables=OF_ROLES, **PROXY)


# -- proxies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X_User": "ann", "X_Role": "admin"}, 200),
        ({"X_User": "ann", "X_Role": "owner"}, 403),
        ({"X_User": "ann"}, 403),
        ({"X_Role": "admin"}, 401),
        ({"X_User": "a" * 201, "X_Role": "admin"}, 403),
    ],
)
def test_a_trusted_proxy_names_the_user_and_a_known_role(headers: dict[str, str], status: int) -> None:
    async def steps(browser: Browser) -> None:
        assert (await browser.get("/session.json", **headers)).status == status

    serve(steps, **PROXY)


def test_the_headers_of_other_addresses_are_not_believed() -> None:
    async def steps(browser: Browser) -> None:
        assert (await browser.get("/session.json", **as_user("admin"))).status == 401

    serve(steps, **{**PROXY, "trusted_proxies": "192.0.2.0/24, 2001:db8::/32"})


def test_without_a_role_header_a_proxys_users_have_the_role_of_the_settings() -> None:
    async def steps(browser: Browser) -> None:
        found = await browser.get("/session.json", **as_user("admin"))
        assert (found.json["user"], found.json["role"]) == ("ann", "editor")

    serve(steps, trusted_proxies="127.0.0.1", proxy_user_header="X-User", proxy_role="editor")
