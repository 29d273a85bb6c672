"""Sessions: signed cookies that begin at sign-in, end in time, and cannot be made or kept by others."""

from __future__ import annotations

import asyncio
from http.cookies import Morsel
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segops import config
from segops.console.access.guard import Guard
from segops.console.access.sessions import Sessions
from segops.console.access.signing import Signer
from segops.console.page import Page, Role, Stream, User
from segops.console.server import Tables

from .helpers import HASH, NOW_MS, TOKEN, USERS, Answer, Browser, login, login_as, serve
from .test_access import shown

SECRET = "s" * 32
HOUR_MS = 3_600_000
TABLES = Tables((Page("/", "error.html", "Start", shown),))


def cookie(answer: Answer, name: str = "segops_session") -> Morsel[str]:
    found: Morsel[str] = answer.cookies[name]
    return found


async def status(browser: Browser, value: str | None = None) -> int:
    """Ask who one is, with this cookie or that of the browser."""
    given = {}
    if value is not None:
        browser.client.session.cookie_jar.clear()
        given = {"Cookie": f"segops_session={value}"}
    return (await browser.get("/session.json", **given)).status


def test_the_cookie_is_strict_http_only_and_of_the_browser_session() -> None:
    async def steps(browser: Browser) -> None:
        found = cookie(await login_as(browser, "editor"))
        assert (found["samesite"], found["httponly"], found["path"]) == ("Strict", True, "/")
        assert (found["secure"], found["domain"], found["max-age"]) == ("", "", "")

    serve(steps, users=USERS)


def test_over_tls_the_cookie_is_secure_and_of_this_host_alone() -> None:
    async def steps(browser: Browser) -> None:
        answer = await login_over_tls(browser)
        found = cookie(answer, "__Host-segops_session")
        assert found["secure"] and found["path"] == "/" and not found["domain"]
        assert "segops_session" not in answer.cookies

    serve(steps, token=TOKEN, trusted_proxies="127.0.0.1")


async def login_over_tls(browser: Browser) -> Answer:
    page = await browser.get("/login", X_Forwarded_Proto="https")
    token = page.text.partition('name="csrf" value="')[2].partition('"')[0]
    visitor = page.cookies["__Host-segops_visitor"].value
    return await browser.submit(
        "/login",
        {"token": TOKEN},
        token=token,
        X_Forwarded_Proto="https",
        Cookie=f"__Host-segops_visitor={visitor}",
    )


def test_a_sign_in_never_continues_a_session_that_the_browser_was_given() -> None:
    async def steps(browser: Browser) -> None:
        planted = cookie(await login_as(browser, "viewer")).value
        fresh = cookie(await login_as_another(browser)).value
        assert fresh != planted
        assert await status(browser, fresh) == 200
        assert await status(browser, planted) == 401

    serve(steps, users=USERS)


async def login_as_another(browser: Browser) -> Answer:
    """Sign in while one is signed in: the page is not offered then, but its form may be posted."""
    jar = browser.client.session.cookie_jar
    session = {each.key: each.value for each in jar}["segops_session"]
    jar.clear()
    page = await browser.get("/login")
    token = page.text.partition('name="csrf" value="')[2].partition('"')[0]
    jar.update_cookies({"segops_session": session}, browser.client.make_url("/"))
    return await browser.submit("/login", {"name": "admin", "password": "correct horse"}, token=token)


def test_a_session_ends_by_time_and_by_disuse() -> None:
    async def steps(browser: Browser) -> None:
        await login_as(browser, "viewer")
        for _ in range(11):  # used each hour: only its whole length ends it
            browser.clock.now_ms += HOUR_MS
            assert await status(browser) == 200
        browser.clock.now_ms += HOUR_MS
        assert await status(browser) == 401
        await login_as(browser, "viewer")
        browser.clock.now_ms += 2 * HOUR_MS
        assert await status(browser) == 401

    serve(steps, users=USERS)


def test_an_expired_session_is_said_as_each_client_can_show_it() -> None:
    async def steps(browser: Browser) -> None:
        await login_as(browser, "admin")
        token = (await browser.get("/session.json")).json["csrf"]
        browser.clock.now_ms += 3 * HOUR_MS
        page = await browser.get("/settings?a=1")
        assert (page.status, page.headers["Location"]) == (303, "/login?next=%2Fsettings%3Fa%3D1")
        twin = await browser.get("/settings.json")
        assert (twin.status, twin.json) == (401, {"error": "Sign in first."})
        fetched = await browser.submit("/logout", {}, token=token, script=True)
        assert (fetched.status, fetched.json) == (401, {"error": "Sign in first."})
        referer = str(browser.client.make_url("/settings"))
        posted = await browser.submit("/logout", {}, token=token, Referer=referer)
        assert (posted.status, posted.headers["Location"]) == (303, "/login?next=%2Fsettings")

    serve(steps, users=USERS)


def test_signing_out_ends_the_session_for_copies_of_its_cookie_too() -> None:
    async def steps(browser: Browser) -> None:
        copy = cookie(await login_as(browser, "viewer")).value
        answer = await browser.post("/logout")
        assert (answer.status, answer.headers["Location"]) == (303, "/login")
        assert cookie(answer)["max-age"] == "0" and cookie(answer)["samesite"] == "Strict"
        assert await status(browser, copy) == 401

    serve(steps, users=USERS)


def test_replicas_with_one_secret_know_the_sessions_of_each_other() -> None:
    found: list[str] = []

    async def sign_in(browser: Browser) -> None:
        found.append(cookie(await login_as(browser, "viewer")).value)

    async def use(browser: Browser) -> None:
        assert await status(browser, found[0]) == 200

    async def refuse(browser: Browser) -> None:
        assert await status(browser, found[0]) == 401

    serve(sign_in, users=USERS, secret=SECRET)
    serve(use, users=USERS, secret=SECRET)
    serve(refuse, users=USERS, secret="o" * 32)
    serve(refuse, users=USERS)
    other_hash = HASH.replace("0Lup", "0LuP")
    serve(refuse, users=USERS.replace(f"viewer:viewer:{HASH}", f"viewer:viewer:{other_hash}"), secret=SECRET)
    serve(refuse, users=USERS.replace("viewer:viewer", "viewer:editor"), secret=SECRET)
    serve(refuse, users=USERS.replace("viewer:viewer", "vera:viewer"), secret=SECRET)


def test_no_one_without_the_secret_makes_a_session() -> None:
    forger = Guard(config.load(console={"users": USERS}).console)
    user = User("admin", Role.ADMIN, "password")
    session = forger.sessions.begin(user, proof=forger.proof("password", "admin"), now_ms=NOW_MS)

    async def steps(browser: Browser) -> None:
        mine = cookie(await login_as(browser, "viewer")).value
        for forged in (
            forger.sessions.write(session),
            forger.sessions.write(session).partition(".")[0] + "." + mine.partition(".")[2],
            mine.partition(".")[0],
            mine + "A",
            mine.upper(),
            "",
            ".",
            "\u00e9.a",
        ):
            assert await status(browser, forged) == 401, forged

    serve(steps, users=USERS, secret=SECRET)


def test_a_session_is_not_of_another_purpose() -> None:
    signer = Signer(SECRET.encode())
    sessions = Sessions(signer, lifetime_ms=HOUR_MS, idle_ms=HOUR_MS)
    payload = b'["i","admin",4,"password",0,0,"p"]'
    assert sessions.read(signer.sign("session", payload), now_ms=0) is not None
    assert sessions.read(signer.sign("said", payload), now_ms=0) is None
    assert sessions.read(signer.sign("session", b'["i"]'), now_ms=0) is None


@settings(max_examples=50)
@given(st.text(max_size=80), st.binary(max_size=40))
def test_any_text_is_read_or_refused_without_an_error(text: str, payload: bytes) -> None:
    signer = Signer(SECRET.encode())
    assert signer.read("session", text) is None
    assert signer.read("session", signer.sign("session", payload)) == payload
    assert signer.is_form_token("x", text) is False


def test_a_page_in_use_keeps_its_session_and_writes_its_cookie_seldom() -> None:
    async def steps(browser: Browser) -> None:
        await login_as(browser, "viewer")
        assert "segops_session" not in (await browser.get("/")).cookies
        browser.clock.now_ms += 61_000
        assert "segops_session" in (await browser.get("/")).cookies
        assert "segops_session" not in (await browser.get("/")).cookies

    serve(steps, users=USERS, tables=TABLES)


def test_a_stream_ends_with_its_session() -> None:
    closed = asyncio.Event()

    async def forever(_context: Any, _last: str) -> Any:
        try:
            yield b"data: 1\n\n"
            await asyncio.Event().wait()
        finally:
            closed.set()

    async def steps(browser: Browser) -> None:
        await login_as(browser, "viewer")
        browser.clock.now_ms += 2 * HOUR_MS - 30
        answer = await browser.get("/live")  # ends, since the server closes it
        assert answer.text == "data: 1\n\n"
        await closed.wait()
        browser.clock.now_ms += HOUR_MS
        answer = await browser.get("/live", Accept="text/event-stream")  # which reads no page of signing in
        assert (answer.status, answer.json) == (401, {"error": "Sign in first."})

    serve(steps, users=USERS, tables=Tables(streams=(Stream("/live", forever),)))


def test_a_token_that_was_replaced_signs_its_sessions_out() -> None:
    found: list[str] = []

    async def sign_in(browser: Browser) -> None:
        found.append(cookie(await login(browser, token=TOKEN)).value)

    async def refuse(browser: Browser) -> None:
        assert await status(browser, found[0]) == 401

    serve(sign_in, token=TOKEN, secret=SECRET)
    serve(refuse, token="another-token", secret=SECRET)


@pytest.mark.parametrize("way", ["open", "proxy", "bearer"])
def test_other_ways_make_no_session(way: str) -> None:
    given: dict[str, Any] = {
        "open": {},
        "proxy": {"trusted_proxies": "127.0.0.1", "proxy_user_header": "X-User"},
        "bearer": {"token": TOKEN},
    }
    headers = {"proxy": {"X_User": "ann"}, "bearer": {"Authorization": f"Bearer {TOKEN}"}}

    async def steps(browser: Browser) -> None:
        answer = await browser.get("/session.json", **headers.get(way, {}))
        assert answer.status == 200 and answer.cookies == {}

    serve(steps, **given[way])
