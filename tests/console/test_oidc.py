"""Signing in by an issuer: the code flow with PKCE, state and nonce, and what an issuer may get wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from segops.config import load
from segops.console.access.oidc import Oidc, roles_of
from segops.console.access.signing import Signer
from segops.console.server import OWN_ROUTES
from segops.core.errors import UserError

from .helpers import NOW_MS, Answer, Browser, served
from .issuers import CLIENT, CLIENT_SECRET, KEY, OTHER_KEY, Issuer

Steps = Callable[[Browser, Issuer], Awaitable[None]]


def run(steps: Steps, **settings: object) -> None:
    async def main() -> None:
        issuer = Issuer()
        async with TestServer(issuer.app) as server:
            issuer.url = str(server.make_url("/")).rstrip("/")
            given = {
                "url": "http://127.0.0.1",
                "oidc_issuer": issuer.url,
                "oidc_client_id": CLIENT,
                "oidc_client_secret": CLIENT_SECRET,
                **settings,
            }
            await served(lambda browser: steps(browser, issuer), given)

    asyncio.run(main())


async def begin(browser: Browser, issuer: Issuer, path: str = "/oidc/login?next=/settings") -> dict[str, str]:
    """Go to the issuer, and return what the browser brings back from there."""
    answer = await browser.get(path)
    assert answer.status == 303
    return issuer.authorize(answer.headers["Location"])


async def come_back(browser: Browser, brought: dict[str, str]) -> Answer:
    return await browser.get(f"/oidc/callback?{urlencode(brought)}", Sec_Fetch_Site="cross-site")


async def sign_in(browser: Browser, issuer: Issuer) -> Answer:
    return await come_back(browser, await begin(browser, issuer))


async def is_in(browser: Browser) -> bool:
    return (await browser.get("/session.json")).status == 200


def test_an_issuer_signs_people_in_with_the_highest_of_their_roles() -> None:
    async def steps(browser: Browser, issuer: Issuer) -> None:
        assert 'href="/oidc/login?next=/"' in (await browser.get("/login")).text
        known = {each.canonical for each in browser.client.app.router.resources()}
        assert {route.partition(" ")[2] for route in OWN_ROUTES} <= known
        issuer.claims["groups"] = ["viewer", "approver", "other"]
        answer = await sign_in(browser, issuer)
        # A page that goes on by itself: a redirection would come without the strict cookie.
        assert answer.status == 200 and 'content="0;url=/settings"' in answer.text
        found = (await browser.get("/session.json")).json
        assert (found["user"], found["role"], found["login"]) == ("ann@shop.example", "approver", "oidc")
        assert [entry.user for entry in browser.audit.entries] == ["ann@shop.example"]

    run(steps)


def test_only_the_cookie_of_the_attempt_is_lax_and_it_is_gone_afterwards() -> None:
    async def steps(browser: Browser, issuer: Issuer) -> None:
        away = await browser.get("/oidc/login")
        attempt = away.cookies["segops_oidc"]
        assert (attempt["samesite"], attempt["httponly"], attempt["max-age"]) == ("Lax", True, "600")
        back = await come_back(browser, issuer.authorize(away.headers["Location"]))
        assert back.cookies["segops_session"]["samesite"] == "Strict"
        assert back.cookies["segops_oidc"]["max-age"] == "0"

    run(steps)


def test_the_answer_must_be_to_an_attempt_of_this_browser() -> None:
    async def steps(browser: Browser, issuer: Issuer) -> None:
        brought = await begin(browser, issuer)
        for wrong in (
            {**brought, "state": "x" * 43},
            {"code": brought["code"]},
            {**brought, "state": "\ud800"},
        ):
            answer = await come_back(
                browser, {k: v.encode("utf-8", "replace").decode() for k, v in wrong.items()}
            )
            assert answer.status == 400 and "was not begun here" in answer.text
        browser.client.session.cookie_jar.clear()  # a victim who is given an attacker's answer
        assert (await come_back(browser, await begun_elsewhere(browser, issuer))).status == 400
        assert not await is_in(browser) and "token" not in issuer.asked

    run(steps)


async def begun_elsewhere(browser: Browser, issuer: Issuer) -> dict[str, str]:
    brought = await begin(browser, issuer)
    browser.client.session.cookie_jar.clear()
    return brought


def test_an_attempt_is_for_ten_minutes_and_its_code_for_once() -> None:
    async def steps(browser: Browser, issuer: Issuer) -> None:
        late = await begin(browser, issuer)
        browser.clock.now_ms += 600_000
        assert (await come_back(browser, late)).status == 400
        browser.clock.now_ms = NOW_MS
        brought = await begin(browser, issuer)
        cookies = {each.key: each.value for each in browser.client.session.cookie_jar}
        assert (await come_back(browser, brought)).status == 200
        browser.client.session.cookie_jar.update_cookies(cookies, browser.client.make_url("/"))
        assert (await come_back(browser, brought)).status == 502

    run(steps)


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://evil.example"},
        {"iss": None},
        {"aud": "another"},
        {"aud": None},
        {"aud": [CLIENT, "another"]},
        {"azp": "another"},
        {"exp": NOW_MS // 1000 - 61},
        {"exp": None},
        {"exp": "tomorrow"},
        {"iat": NOW_MS // 1000 + 120},
        {"nbf": NOW_MS // 1000 + 120},
        {"nonce": "x"},
        {"nonce": None},
        {"sub": None},
    ],
    ids=str,
)
def test_an_id_token_that_is_not_for_this_sign_in_is_refused(changed: dict[str, Any]) -> None:
    async def steps(browser: Browser, issuer: Issuer) -> None:
        issuer.changed = lambda claims: {**claims, **changed}
        answer = await sign_in(browser, issuer)
        assert answer.status == 502 and "issuer failed" in answer.text
        assert not await is_in(browser)

    run(steps)


@pytest.mark.parametrize("kind", ["foreign", "secret", "public", "unknown"])
def test_an_id_token_that_the_issuer_did_not_sign_is_refused(kind: str) -> None:
    async def steps(browser: Browser, issuer: Issuer) -> None:
        issuer.key = OTHER_KEY
        issuer.header = {"alg": "RS256", "kid": "two" if kind == "unknown" else "one"}
        secrets = {"secret": CLIENT_SECRET.encode(), "public": KEY.as_pem(private=False)}
        issuer.shared_secret = secrets.get(kind)
        assert (await sign_in(browser, issuer)).status == 502
        assert not await is_in(browser)

    run(steps)


def test_an_unsigned_id_token_is_refused() -> None:
    async def steps(browser: Browser, issuer: Issuer) -> None:
        unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzMSJ9."
        issuer.token_answer = web.json_response({"id_token": unsigned})
        assert (await sign_in(browser, issuer)).status == 502

    run(steps)


def test_a_new_key_of_the_issuer_is_fetched_when_it_is_used() -> None:
    async def steps(browser: Browser, issuer: Issuer) -> None:
        brought = await begin(browser, issuer)
        issuer.published, issuer.key, issuer.header = [OTHER_KEY], OTHER_KEY, {"alg": "RS256", "kid": "two"}
        assert (await come_back(browser, brought)).status == 200
        assert issuer.asked == ["configuration", "jwks", "token", "jwks"]

    run(steps)


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.json_response({"error": "invalid_client"}, status=401),
        lambda: web.Response(text="<html>"),
        lambda: web.json_response({"access_token": "a"}),
        lambda: web.json_response({"id_token": "x" * 70_000}),
        lambda: web.json_response({"id_token": 5}),
        lambda: web.Response(body=b"{" + b" " * (1 << 21)),
        lambda: web.Response(status=302, headers={"Location": "https://evil.example/token"}),
    ],
)
def test_an_issuer_that_answers_anything_else_signs_no_one_in(answer: Callable[[], web.Response]) -> None:
    async def steps(browser: Browser, issuer: Issuer) -> None:
        issuer.token_answer = answer()
        found = await sign_in(browser, issuer)
        assert found.status == 502 and not await is_in(browser)
        assert "invalid_client" not in found.text and "evil" not in found.text

    run(steps)


@pytest.mark.parametrize(
    "configuration",
    [
        {"issuer": "https://evil.example"},
        {"token_endpoint": "http://evil.example/token"},
        {"jwks_uri": None},
        {"authorization_endpoint": "javascript:alert(1)"},
    ],
    ids=str,
)
def test_a_wrong_configuration_of_the_issuer_begins_nothing(configuration: dict[str, Any]) -> None:
    async def steps(browser: Browser, issuer: Issuer) -> None:
        issuer.configuration = configuration
        answer = await browser.get("/oidc/login")
        assert answer.status == 502 and "Location" not in answer.headers

    run(steps)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"groups": ["other"]}, "has no role here"),
        ({"groups": None}, "has no role here"),
        ({"groups": {"admin": True}}, "has no role here"),
        ({"email": None}, "does not name you"),
        ({"email": ""}, "does not name you"),
        ({"email": "a\u0000b"}, "does not name you"),
        ({"email_verified": False}, "has not verified"),
    ],
)
def test_people_without_a_name_or_a_role_are_refused(claims: dict[str, Any], reason: str) -> None:
    async def steps(browser: Browser, issuer: Issuer) -> None:
        issuer.claims |= claims
        answer = await sign_in(browser, issuer)
        assert answer.status == 403 and reason in answer.text and not await is_in(browser)

    run(steps)


def test_an_issuer_that_names_itself_in_its_answer_is_held_to_it() -> None:
    async def steps(browser: Browser, issuer: Issuer) -> None:
        issuer.configuration = {"authorization_response_iss_parameter_supported": True}
        brought = await begin(browser, issuer)
        assert (await come_back(browser, {**brought, "iss": "https://evil.example"})).status == 400
        assert (await come_back(browser, await begin(browser, issuer))).status == 400
        brought = await begin(browser, issuer)
        assert (await come_back(browser, {**brought, "iss": issuer.url})).status == 200

    run(steps)


def test_a_refusal_of_the_issuer_shows_nothing_of_its_text() -> None:
    async def steps(browser: Browser, issuer: Issuer) -> None:
        brought = await begin(browser, issuer)
        error = {"state": brought["state"], "error": "access_denied", "error_description": "call 555"}
        answer = await come_back(browser, error)
        assert answer.status == 403 and "did not sign you in" in answer.text and "555" not in answer.text

    run(steps)


def test_no_sign_in_by_an_issuer_leads_elsewhere() -> None:
    async def steps(browser: Browser, issuer: Issuer) -> None:
        brought = await begin(browser, issuer, "/oidc/login?next=//evil.example")
        answer = await come_back(browser, brought)
        assert answer.status == 200 and "evil" not in answer.text

    run(steps)


def test_roles_are_named_by_values_of_a_claim() -> None:
    async def steps(browser: Browser, issuer: Issuer) -> None:
        issuer.claims |= {"team": "heads", "name": "Ann"}
        await sign_in(browser, issuer)
        found = (await browser.get("/session.json")).json
        assert (found["user"], found["role"]) == ("Ann", "admin")

    run(steps, oidc_roles="all=viewer,heads=admin", oidc_role_claim="team", oidc_name_claim="name")


@pytest.mark.parametrize("text", ["heads", "heads=owner", "=admin"])
def test_wrong_roles_are_an_error(text: str) -> None:
    with pytest.raises(UserError, match="expected value=role pairs"):
        roles_of(text)


def test_an_issuer_without_tls_is_for_loopback_only() -> None:
    given = {"oidc_issuer": "http://id.example", "oidc_client_id": "x", "url": "https://c.example"}
    with pytest.raises(UserError, match="expected https"):
        Oidc(load(console=given).console, Signer(b"s" * 32), now_ms=lambda: 0)
