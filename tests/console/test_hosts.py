"""To which names the console answers, where it is open, and where a sign-in leads."""

from __future__ import annotations

import pytest

from segops import config
from segops.console.access.guard import Guard
from segops.console.answers import local_path
from segops.core.errors import UserError

from .helpers import TOKEN, Browser, login, serve


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
