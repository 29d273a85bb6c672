"""Tokens and passwords: who signs in with them, and how guesses are delayed."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from segops import config
from segops.console.access.attempts import Attempts, keys_of
from segops.console.access.guard import Guard
from segops.console.access.passwords import hash_password, matches, read_hash
from segops.core.errors import UserError

from .helpers import HASH, TOKEN, USERS, Browser, login, login_as, serve
from .test_access import OF_ROLES


def test_a_bearer_token_needs_no_form_token_and_no_origin() -> None:
    async def steps(browser: Browser) -> None:
        given = {"Authorization": f"Bearer {TOKEN}"}
        answer = await browser.send("POST", "/do-ADMIN", headers=given, json={})
        assert (answer.status, answer.json["message"]) == (200, "Done.")
        assert browser.audit.said == [("a.do", "begun"), ("a.do", "done")]
        for wrong in (f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer", "Bearer \udcff"):
            refused = await browser.get("/page-VIEWER", Authorization=wrong)
            assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, "Bearer")

    serve(steps, tables=OF_ROLES, token=TOKEN)


def test_people_sign_in_with_name_and_password_or_the_token() -> None:
    async def steps(browser: Browser) -> None:
        answer = await login(browser, name="editor", password="correct horse", next="/settings?a=1")
        assert (answer.status, answer.headers["Location"]) == (303, "/settings?a=1")
        assert (await browser.get("/session.json")).json["role"] == "editor"
        assert (await browser.get("/login?next=/settings")).headers["Location"] == "/settings"
        browser.client.session.cookie_jar.clear()
        assert (await login(browser, token=TOKEN)).status == 303
        assert (await browser.get("/session.json")).json["role"] == "admin"

    serve(steps, users=USERS, token=TOKEN)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "editor", "password": "wrong"},
        {"name": "nobody", "password": "correct horse"},
        {"name": "", "password": ""},
        {"token": "wrong"},
        {"token": TOKEN[:-1]},
        {"name": "editor", "password": "\ud800"},
        {"name": "editor", "password": "x" * 2_000},
    ],
    ids=str,
)
def test_wrong_credentials_are_refused_in_the_same_words(fields: dict[str, str]) -> None:
    async def steps(browser: Browser) -> None:
        answer = await login(browser, **{k: v.encode("utf-8", "replace").decode() for k, v in fields.items()})
        assert answer.status == 401 and "is wrong." in answer.text
        assert "Set-Cookie" not in answer.headers or "session" not in answer.headers["Set-Cookie"]
        assert (await browser.get("/session.json")).status == 401

    serve(steps, users=USERS, token=TOKEN)


def test_guesses_are_delayed_by_address_and_by_name() -> None:
    async def steps(browser: Browser) -> None:
        for _ in range(6):
            assert (await login(browser, name="editor", password="wrong")).status == 401
        delayed = await login_as(browser, "editor")
        assert (delayed.status, delayed.headers["Retry-After"]) == (429, "1")
        assert "wait 1 seconds" in delayed.text
        browser.clock.now_ms += 1_000
        assert (await login_as(browser, "editor")).status == 303
        value = browser.registry.get_sample_value(
            "segops_console_sign_ins_total", {"login": "password", "result": "refused"}
        )
        assert value == 6

    serve(steps, users=USERS)


def test_a_guessed_token_delays_too() -> None:
    async def steps(browser: Browser) -> None:
        answers = [(await browser.get("/session.json", Authorization="Bearer x")).status for _ in range(7)]
        assert answers == [401] * 6 + [429]
        assert (await browser.get("/session.json", Authorization=f"Bearer {TOKEN}")).status == 429

    serve(steps, token=TOKEN)


def test_guesses_at_once_are_counted_before_they_are_checked() -> None:
    async def steps(browser: Browser) -> None:
        page = await browser.get("/login")
        token = page.text.partition('name="csrf" value="')[2].partition('"')[0]
        tries = (
            browser.submit("/login", {"name": "admin", "password": "no"}, token=token) for _ in range(12)
        )
        statuses = sorted([answer.status for answer in await asyncio.gather(*tries)])
        assert statuses == [401] * 6 + [429] * 6

    serve(steps, users=USERS)


def test_an_own_account_does_not_wash_an_address_clean() -> None:
    attempts, mine, victim = Attempts(), keys_of("192.0.2.1", "me"), keys_of("192.0.2.1", "ann")
    for _ in range(5):
        attempts.failed(victim, now_ms=0)
        attempts.failed(mine, now_ms=0)
        attempts.succeeded(mine)
    attempts.failed(victim, now_ms=0)
    assert attempts.wait_ms(keys_of("192.0.2.1", "other"), now_ms=0) > 0
    assert attempts.wait_ms(keys_of("192.0.2.2", "other"), now_ms=0) == 0


def test_delays_grow_to_a_bound_and_are_forgotten_in_bounded_memory() -> None:
    attempts = Attempts(limit=10)
    keys = keys_of("192.0.2.1", "ann")
    for _ in range(40):
        attempts.failed(keys, now_ms=0)
    assert attempts.wait_ms(["address:192.0.2.1"], now_ms=0) == 900_000
    assert attempts.wait_ms(["name:ann"], now_ms=0) == 60_000
    for number in range(50):
        attempts.failed(keys_of(f"2001:db8:0:{number}::1"), now_ms=0)
    assert len(attempts) == 10


def test_an_attempt_after_an_hour_begins_again() -> None:
    attempts, keys = Attempts(), ["name:ann"]
    for _ in range(8):
        attempts.failed(keys, now_ms=0)
    attempts.failed(keys, now_ms=3_600_001)
    assert attempts.wait_ms(keys, now_ms=3_600_001) == 0


def test_the_address_is_that_of_the_last_proxy_that_is_not_trusted() -> None:
    async def steps(browser: Browser) -> None:
        for number in range(7):
            await browser.get(
                "/session.json", Authorization="Bearer x", X_Forwarded_For=f"198.51.100.{number}, 203.0.113.9"
            )
        status = (
            await browser.get("/session.json", Authorization="Bearer x", X_Forwarded_For="203.0.113.9")
        ).status
        assert status == 429
        other = await browser.get("/session.json", Authorization="Bearer x", X_Forwarded_For="203.0.113.10")
        assert other.status == 401

    serve(steps, token=TOKEN, trusted_proxies="127.0.0.1")


def test_a_hash_fits_its_password_only() -> None:
    written = hash_password("pässword")
    assert matches(read_hash(written), "pässword") and not matches(read_hash(written), "password")
    assert written != hash_password("pässword")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "scrypt$1$8$1$eA==$eA==",
        HASH.replace("scrypt", "argon"),
        HASH[:-8],
        HASH.replace("$14$", "$40$"),
        "a$b",
    ],
)
def test_a_weak_or_broken_hash_is_an_error_that_does_not_show_it(text: str) -> None:
    with pytest.raises(UserError) as error:
        Guard(config.load(console={"users": f"ann:admin:{text}"}).console)
    assert not text or text not in str(error.value)


@pytest.mark.parametrize(
    ("users", "reason"),
    [
        (f"ann:owner:{HASH}", "with a role of viewer, editor, approver, admin"),
        ("ann", "expected name:role:hash"),
        (f"ann:admin:{HASH},ann:viewer:{HASH}", "user 2: duplicate user ann"),
        (f"a b:admin:{HASH}", "expected name:role:hash"),
    ],
)
def test_wrong_users_are_named(users: str, reason: str) -> None:
    with pytest.raises(UserError, match=re.escape(reason)):
        Guard(config.load(console={"users": users}).console)


def test_users_are_read_from_a_file_too(tmp_path: Any) -> None:
    path = tmp_path / "users"
    path.write_text(f"# people\nann:admin:{HASH}  # it is she\n\n")
    assert Guard(config.load(console={"users_file": str(path)}).console).users.get("ann") is not None
    with pytest.raises(UserError, match="No such file"):
        Guard(config.load(console={"users_file": str(tmp_path / "none")}).console)
