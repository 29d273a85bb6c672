"""Who gets in, by which way, and what each role may: for every page, its JSON, every action and stream."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from pydantic import BaseModel

from segops import config
from segops.console.access.attempts import Attempts, keys_of
from segops.console.access.guard import Guard
from segops.console.access.passwords import hash_password, matches, read_hash
from segops.console.answers import local_path
from segops.console.page import Action, Context, Data, Done, Page, Role, Stream
from segops.console.routes import json_path
from segops.console.server import Tables
from segops.core.errors import UserError

from .helpers import EVERYTHING, HASH, PROXY, TOKEN, USERS, Browser, as_user, login, login_as, serve

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
        assert (await browser.submit(path, {})).status == 303
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
        assert known - tables == {"/static/{digest}/{name}", "/session.json", "/login", "/logout"}

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


# -- tokens and passwords ----------------------------------------------------------------------------------


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


# -- open, and where it may be -----------------------------------------------------------------------------


def test_open_is_for_loopback_only_and_says_so_on_each_page() -> None:
    async def steps(browser: Browser) -> None:
        page = await browser.get("/settings")
        assert page.status == 200 and "everyone on this machine is an admin" in page.text
        assert (await browser.get("/session.json")).json["login"] == "open"

    serve(steps)
    with pytest.raises(UserError, match="a login is required"):
        Guard(config.load(console={"host": "0.0.0.0"}).console)
    Guard(config.load(console={"host": "0.0.0.0", "token": TOKEN}).console)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:6084", 200),
        ("127.0.0.1", 200),
        ("[::1]:6084", 200),
        ("console.localhost", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost:x", 421),
        ("192.168.0.1", 421),
    ],
)
def test_an_open_console_answers_to_loopback_names_only(host: str, status: int) -> None:
    async def steps(browser: Browser) -> None:
        for path in ("/settings", "/settings.json", "/session.json", "/nothing"):
            expected = 404 if status == 200 and path == "/nothing" else status
            assert (await browser.get(path, Host=host)).status == expected

    serve(steps)


@pytest.mark.parametrize("name", ["X_Forwarded_For", "Forwarded", "Via", "X_Forwarded_Host"])
def test_an_open_console_does_not_answer_through_a_proxy(name: str) -> None:
    async def steps(browser: Browser) -> None:
        assert (await browser.get("/settings", **{name: "x"})).status == 403

    serve(steps)


def test_other_consoles_answer_to_the_names_of_the_settings() -> None:
    async def steps(browser: Browser) -> None:
        given = {"Authorization": f"Bearer {TOKEN}"}
        for host, status in (("console.example", 200), ("b.example:443", 200), ("evil.example", 421)):
            assert (await browser.get("/session.json", Host=host, **given)).status == status

    serve(steps, token=TOKEN, url="https://console.example", hosts="b.example")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"proxy_user_header": "X-User"}, "requires SEGOPS_CONSOLE_TRUSTED_PROXIES"),
        ({"proxy_role_header": "X-Role"}, "requires SEGOPS_CONSOLE_PROXY_USER_HEADER"),
        ({"oidc_issuer": "https://id.example"}, "requires SEGOPS_CONSOLE_OIDC_CLIENT_ID"),
    ],
)
def test_settings_that_lack_another_are_refused(settings: dict[str, str], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        Guard(config.load(console=settings).console)


# -- where one goes on -------------------------------------------------------------------------------------


HOSTILE = [
    "//evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "https://evil.example",
    "javascript:alert(1)",
    "/\t/evil.example",
    "/\n/evil.example",
    " //evil.example",
    "http:evil.example",
    "/%0d%0aSet-Cookie: x",
    "/login?next=/login",
    "",
]


@pytest.mark.parametrize("target", HOSTILE)
def test_no_sign_in_leads_elsewhere(target: str) -> None:
    assert local_path(target) in ("/", target.replace(" ", ""))

    async def steps(browser: Browser) -> None:
        answer = await login(browser, token=TOKEN, next=target)
        assert answer.status == 303
        location = answer.headers["Location"]
        assert location.startswith("/") and not location.startswith(("//", "/\\", "/login"))
        assert "evil" not in location or location.startswith("/%")

    serve(steps, token=TOKEN)


def test_a_page_that_needs_a_sign_in_is_gone_on_to_afterwards() -> None:
    async def steps(browser: Browser) -> None:
        answer = await browser.get("/settings?a=%3Cb%3E&c=1")
        assert answer.headers["Location"] == "/login?next=%2Fsettings%3Fa%3D%253Cb%253E%26c%3D1"
        form = await browser.get(answer.headers["Location"])
        assert 'name="next" value="/settings?a=%3Cb%3E&amp;c=1"' in form.text

    serve(steps, token=TOKEN)


def test_a_link_from_elsewhere_finds_the_session_that_browsers_hold_back() -> None:
    async def steps(browser: Browser) -> None:
        page = await browser.get("/settings?a=1", Sec_Fetch_Site="cross-site")
        assert page.status == 200 and 'content="0;url=/settings?a=1"' in page.text
        again = await browser.get("/settings?a=1", Sec_Fetch_Site="same-origin")
        assert again.status == 303

    serve(steps, token=TOKEN)
