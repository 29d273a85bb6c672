"""A form is taken from a page of this console, opened by the same visitor, and from nowhere else."""

from __future__ import annotations

from typing import Any

import pytest

from segops.console.access.signing import Signer
from segops.console.page import Action, Role
from segops.console.server import Tables

from .helpers import EVERYTHING, PROXY, TOKEN, USERS, Browser, as_user, login_as, serve
from .test_access import Empty, done, path_of

TABLES = Tables(
    EVERYTHING.pages,
    [*EVERYTHING.actions, Action("/do", "a.do", Empty, done, Role.VIEWER)],
    EVERYTHING.streams,
)


async def token_of(browser: Browser, **headers: str) -> str:
    found: str = (await browser.get("/session.json", **headers)).json["csrf"]
    return found


@pytest.mark.parametrize("action", TABLES.actions, ids=lambda action: action.path)
def test_no_action_is_done_without_the_token_or_from_elsewhere(action: Action[Any, Any]) -> None:
    async def steps(browser: Browser) -> None:
        path, token = path_of(action.path), await token_of(browser)
        for given, headers in (
            ("", {}),
            ("wrong", {}),
            (token[:-2], {}),
            (token, {"Origin": "https://evil.example"}),
            (token, {"Origin": "null"}),
            (token, {"Sec_Fetch_Site": "cross-site"}),
            (token, {"Sec_Fetch_Site": "same-site"}),
            (token, {"Sec_Fetch_Site": "none"}),
        ):
            for script in (False, True):
                answer = await browser.submit(path, {}, token=given, script=script, **headers)
                assert answer.status == 403, (given, headers)
        assert browser.audit.entries == []

    serve(steps, tables=TABLES)


def test_a_token_is_taken_in_the_form_or_in_a_header() -> None:
    async def steps(browser: Browser) -> None:
        assert (await browser.post("/do")).status == 303
        assert (await browser.post("/do", script=True)).status == 200
        headers = {"X-CSRF-Token": await token_of(browser)}  # as curl has it: no origin
        assert (await browser.send("POST", "/do", headers=headers, json={})).status == 303

    serve(steps, tables=TABLES)


def test_a_token_is_of_one_session() -> None:
    async def steps(browser: Browser) -> None:
        await login_as(browser, "viewer")
        former = await token_of(browser)
        assert (await browser.submit("/do", {}, token=former)).status == 303
        await browser.post("/logout")
        await login_as(browser, "viewer")
        assert (await browser.submit("/do", {}, token=former)).status == 403

    serve(steps, tables=TABLES, users=USERS)


def test_a_token_is_of_one_user_of_a_proxy() -> None:
    async def steps(browser: Browser) -> None:
        ann, bob = as_user("admin", "ann"), as_user("admin", "bob")
        token = await token_of(browser, **ann)
        assert (await browser.submit("/do", {}, token=token, **ann)).status == 303
        assert (await browser.submit("/do", {}, token=token, **bob)).status == 403

    serve(steps, tables=TABLES, **PROXY)


def test_signing_in_needs_the_page_of_the_same_browser() -> None:
    async def steps(browser: Browser) -> None:
        page = await browser.get("/login")
        token = page.text.partition('name="csrf" value="')[2].partition('"')[0]
        fields = {"token": TOKEN}
        assert (await browser.submit("/login", fields, token="")).status == 403
        assert (
            await browser.submit("/login", fields, token=token, Origin="https://evil.example")
        ).status == 403
        browser.client.session.cookie_jar.clear()  # the token of another browser's page
        assert (await browser.submit("/login", fields, token=token)).status == 403
        await browser.get("/login")
        assert (await browser.submit("/login", fields, token=token)).status == 403

    serve(steps, token=TOKEN)


def test_signing_out_needs_the_token_too() -> None:
    async def steps(browser: Browser) -> None:
        await login_as(browser, "viewer")
        assert (await browser.submit("/logout", {}, token="")).status == 403
        assert (await browser.get("/logout")).status == 405
        assert (await browser.get("/session.json")).status == 200

    serve(steps, users=USERS)


def test_with_an_address_of_its_own_the_console_takes_forms_of_that_origin_only() -> None:
    async def steps(browser: Browser) -> None:
        ann = as_user("admin")
        for origin, host, status in (
            ("https://console.example", "console.example", 303),
            ("http://console.example", "console.example", 403),
            ("https://console.example:8443", "console.example:8443", 403),
            ("https://b.example", "b.example", 403),
        ):
            # The cookies' names depend on TLS, the proxy's users have none.
            token = await token_of(browser, Host="console.example", **ann)
            answer = await browser.submit("/do", {}, token=token, Origin=origin, Host=host, **ann)
            assert answer.status == status, origin

    serve(steps, tables=TABLES, url="https://console.example", hosts="b.example", **PROXY)


def test_each_page_has_another_text_of_the_token() -> None:
    signer = Signer(b"s" * 32)
    tokens = {signer.form_token("session:1") for _ in range(20)}
    assert len(tokens) == 20
    assert all(signer.is_form_token("session:1", token) for token in tokens)
    assert not any(signer.is_form_token("session:2", token) for token in tokens)
