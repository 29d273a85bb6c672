"""What is answered to browsers and servers, and every reason for a refusal."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import quote

import pytest

from segops.serve.view import Shown

from .helpers import AS_OF_MS, FOREIGN, KEY, ORIGIN, OTHER_KEY, OTHER_ORIGIN, SECRET, ReadApi, row, serve

ANN = "/v1/memberships/user_id:ann"
MEMBERS = "/v1/segments/secret-plan/members"
VIP = {"vip": {"since": 5, "until": 9}}
EMPTY = {"segments": {}, "indicators": {}, "as_of": AS_OF_MS}


def test_a_page_sees_exposed_segments_and_published_indicators_only(tmp_path: Path) -> None:
    async def steps(api: ReadApi) -> None:
        answer = await api.get(ANN, KEY, origin=ORIGIN)
        assert answer.status == 200
        assert answer.json == {"segments": VIP, "indicators": {"aov": 12.5}, "as_of": AS_OF_MS}
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Cache-Control"] == "no-store"

    serve(tmp_path, steps)


@pytest.mark.parametrize("identifier", ["anonymous_id:a1", "user_id:ann", "email:ann@x"])
def test_every_identifier_leads_to_the_surviving_profile(tmp_path: Path, identifier: str) -> None:
    async def steps(api: ReadApi) -> None:
        answer = await api.get(f"/v1/memberships/{quote(identifier, safe='')}")
        assert (answer.json["profile"], answer.json["segments"]) == ("user_id:ann", VIP)

    serve(tmp_path, steps)


def test_a_public_key_does_not_learn_who_exists(tmp_path: Path) -> None:
    async def steps(api: ReadApi) -> None:
        unknown, bob = [await api.get(f"/v1/memberships/user_id:{name}", KEY) for name in ("eve", "bob")]
        assert (unknown.status, unknown.json) == (bob.status, bob.json) == (200, EMPTY)
        refused = [await api.get(f"/v1/memberships/email:{name}@x", KEY) for name in ("ann", "eve")]
        assert [(each.status, each.body) for each in refused] == [(403, refused[0].body)] * 2
        assert refused[0].code == "identifier_type"

    serve(tmp_path, steps)


def test_a_server_learns_who_is_unknown(tmp_path: Path) -> None:
    async def steps(api: ReadApi) -> None:
        unknown = await api.get("/v1/memberships/user_id:eve")
        assert (unknown.status, unknown.code) == (404, "unknown")
        bob = await api.get("/v1/memberships/user_id:bob")
        assert (bob.status, bob.json) == (200, {**EMPTY, "profile": "user_id:bob"})

    serve(tmp_path, steps)


def test_what_is_no_longer_exposed_or_retired_vanishes(tmp_path: Path) -> None:
    async def steps(api: ReadApi) -> None:
        api.view.shown = Shown(frozenset({"vip"}))
        assert (await api.get(ANN, KEY)).json == EMPTY
        assert (await api.get(MEMBERS)).status == 404

    serve(tmp_path, steps)


# -- keys and origins --------------------------------------------------------------------------------------


def test_a_public_key_may_be_in_the_address_so_that_browsers_need_no_preflight(tmp_path: Path) -> None:
    async def steps(api: ReadApi) -> None:
        answer = await api.get(f"{ANN}?key={KEY}", None, origin=ORIGIN)
        assert answer.status == 200 and answer.json["segments"] == VIP
        secret = await api.get(f"{ANN}?key={SECRET}", None)
        assert (secret.status, secret.code) == (401, "key")

    serve(tmp_path, steps)


@pytest.mark.parametrize(
    ("key", "origin", "status", "code"),
    [
        (None, None, 401, "key"),
        ("rk-unknown", ORIGIN, 401, "key"),
        (KEY, FOREIGN, 403, "origin"),
        (KEY, OTHER_ORIGIN, 403, "origin"),
        (KEY, "null", 403, "origin"),
        (SECRET, ORIGIN, 403, "browser"),
        (SECRET, FOREIGN, 403, "browser"),
    ],
)
@pytest.mark.parametrize("path", [ANN, MEMBERS])
def test_others_are_refused(
    tmp_path: Path, path: str, key: str | None, origin: str | None, status: int, code: str
) -> None:
    async def steps(api: ReadApi) -> None:
        answer = await api.get(path, key, origin=origin)
        assert (answer.status, answer.code) == (status, code)
        assert "vip" not in answer.body.decode() and "bob" not in answer.body.decode()
        allowed = ORIGIN if key == "rk-unknown" else None
        assert answer.headers.get("Access-Control-Allow-Origin") == allowed

    serve(tmp_path, steps)


@pytest.mark.parametrize(
    "authorization", [f"Basic {SECRET}", SECRET, "Bearer", f"Bearer {SECRET}x", f"Bearer {SECRET[:-1]}"]
)
def test_only_a_whole_bearer_token_is_a_key(tmp_path: Path, authorization: str) -> None:
    async def steps(api: ReadApi) -> None:
        answer = await api.get(ANN, None, Authorization=authorization)
        assert (answer.status, answer.code) == (401, "key")

    serve(tmp_path, steps)


def test_members_are_for_servers(tmp_path: Path) -> None:
    async def steps(api: ReadApi) -> None:
        answer = await api.get(MEMBERS, KEY, origin=ORIGIN)
        assert (answer.status, answer.code) == (403, "secret_key")

    serve(tmp_path, steps)


def test_browsers_are_told_which_origin_may_read_the_answer(tmp_path: Path) -> None:
    async def steps(api: ReadApi) -> None:
        for path in (ANN, "/v1/memberships/email:x", MEMBERS):
            headers = (await api.get(path, KEY, origin=ORIGIN)).headers
            assert headers["Access-Control-Allow-Origin"] == ORIGIN
            assert headers["Vary"] == "Origin"
            assert headers["Access-Control-Expose-Headers"] == "Retry-After"
            assert "Access-Control-Allow-Credentials" not in headers
        assert "Access-Control-Allow-Origin" not in (await api.get(ANN, KEY)).headers

    serve(tmp_path, steps)


@pytest.mark.parametrize(
    ("query", "origin", "allowed"),
    [
        ("", ORIGIN, True),
        ("", OTHER_ORIGIN, True),
        ("", FOREIGN, False),
        ("", None, False),
        (f"?key={KEY}", ORIGIN, True),
        (f"?key={KEY}", OTHER_ORIGIN, False),
    ],
)
def test_preflight(tmp_path: Path, query: str, origin: str | None, allowed: bool) -> None:
    async def steps(api: ReadApi) -> None:
        answer = await api.get(ANN + query, None, origin=origin, method="OPTIONS")
        assert answer.status == (204 if allowed else 403)
        assert answer.headers.get("Access-Control-Allow-Origin") == (origin if allowed else None)
        if allowed:
            assert answer.headers["Access-Control-Allow-Headers"] == "Authorization"
            assert "GET" in answer.headers["Access-Control-Allow-Methods"]
        else:
            assert answer.code == "origin"

    serve(tmp_path, steps)


def test_a_rate_is_of_one_key(tmp_path: Path) -> None:
    async def steps(api: ReadApi) -> None:
        path = "/v1/memberships/anonymous_id:a1"
        statuses = [(await api.get(path, OTHER_KEY)).status for _ in range(4)]
        assert statuses == [200] * 4
        api.now_s = -0.0
        refused = await api.get(path, OTHER_KEY, origin=OTHER_ORIGIN)
        assert (refused.status, refused.code, refused.headers["Retry-After"]) == (429, "rate", "1")
        assert refused.headers["Access-Control-Allow-Origin"] == OTHER_ORIGIN
        assert (await api.get(path, KEY)).status == 200
        api.now_s = 1.0
        assert (await api.get(path, OTHER_KEY)).status == 200

    serve(tmp_path, steps)


# -- requests ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/", 404, "no_such_path"),
        ("/v1/memberships/", 404, "no_such_path"),
        ("/v1/memberships/user_id:a/b", 404, "no_such_path"),
        ("/v1/memberships/ann", 400, "identifier"),
        ("/v1/memberships/user_id:%ff", 400, "encoding"),
        ("/v1/segments/unknown/members", 404, "unknown"),
        (f"{MEMBERS}?limit=0", 400, "limit"),
        (f"{MEMBERS}?limit=1001", 400, "limit"),
        (f"{MEMBERS}?limit=-1", 400, "limit"),
        (f"{MEMBERS}?limit=1e9", 400, "limit"),
        (f"{MEMBERS}?limit=99999999999999999999", 400, "limit"),
    ],
)
def test_wrong_requests(tmp_path: Path, path: str, status: int, code: str) -> None:
    async def steps(api: ReadApi) -> None:
        answer = await api.get(path)
        assert (answer.status, answer.code) == (status, code)

    serve(tmp_path, steps)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_written(tmp_path: Path, method: str) -> None:
    async def steps(api: ReadApi) -> None:
        answer = await api.get(ANN, method=method)
        assert (answer.status, answer.code, answer.headers["Allow"]) == (405, "method", "GET, HEAD, OPTIONS")

    serve(tmp_path, steps)


def test_head_has_the_headers_of_get(tmp_path: Path) -> None:
    async def steps(api: ReadApi) -> None:
        answer = await api.get(ANN, method="HEAD")
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["Cache-Control"] == "no-store"

    serve(tmp_path, steps)


def test_before_all_is_read_nothing_is_answered(tmp_path: Path) -> None:
    async def steps(api: ReadApi) -> None:
        api.as_of_ms = None
        answer = await api.get(ANN, KEY, origin=ORIGIN)
        assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "not_ready", "1")

    serve(tmp_path, steps)


def test_a_failure_says_nothing_about_itself(tmp_path: Path) -> None:
    async def steps(api: ReadApi) -> None:
        api.view._store.close()
        answer = await api.get(ANN)
        assert (answer.status, answer.code) == (500, "internal")
        assert "store" not in answer.body.decode()

    serve(tmp_path, steps)


def test_identifiers_are_percent_encoded_and_may_hold_anything(tmp_path: Path) -> None:
    async def steps(api: ReadApi) -> None:
        profile_id = "user_id:a/b|c?d+e ü"
        record = {f"{profile_id}|vip".encode(): row(profile_id, "vip", member=True, at_ms=3)}
        api.view.take_memberships(record)
        answer = await api.get(f"/v1/memberships/{quote(profile_id, safe='')}")
        assert answer.json["segments"] == {"vip": {"since": 3, "until": None}}

    serve(tmp_path, steps)


def test_members_come_in_pages_with_a_cursor(tmp_path: Path) -> None:
    async def steps(api: ReadApi) -> None:
        api.view.take_memberships(
            {f"user_id:{n} &|vip".encode(): row("", "vip", member=True, at_ms=n) for n in range(7)}
        )
        pages, after = [], ""
        while after is not None:
            path = f"/v1/segments/vip/members?limit=3&after={quote(after, safe='')}"
            answer = (await api.get(path)).json
            assert (answer["segment"], answer["as_of"]) == ("vip", AS_OF_MS)
            pages.append([each["profile"] for each in answer["members"]])
            after = answer["next"]
        names = sorted(["user_id:ann", *(f"user_id:{n} &" for n in range(7))])
        assert pages == [names[:3], names[3:6], names[6:]]
        (first,) = (await api.get("/v1/segments/secret-plan/members?after=user_id:ann")).json["members"]
        assert first == {"profile": "user_id:bob", "since": 7, "until": None}

    serve(tmp_path, steps)


def test_requests_are_counted_by_route_client_and_status(tmp_path: Path) -> None:
    async def steps(api: ReadApi) -> None:
        await api.get(ANN, KEY)
        await api.get(MEMBERS)
        await api.get("/v1/memberships/user_id:u", None)
        await api.get("/other", None)
        route = "/v1/memberships/{identifier}"
        expected = [
            (route, "website", "200"),
            ("/v1/segments/{key}/members", "backend", "200"),
            (route, "unknown", "401"),
            ("unknown", "unknown", "404"),
        ]
        for labels in expected:
            of = dict(zip(("route", "client", "code"), labels, strict=True))
            assert api.registry.get_sample_value("segops_serve_requests_total", of) == 1
        assert api.registry.get_sample_value("segops_serve_request_seconds_count") == 4

    serve(tmp_path, steps)


def test_slow_readers_are_cut_and_connections_are_bounded(tmp_path: Path) -> None:
    async def steps(api: ReadApi) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        writer.write(b"GET /v1/memb")
        assert await reader.read() in (b"", b"malformed\n")  # ends after the timeout, without an answer
        writer.close()
        streams = [await asyncio.open_connection("127.0.0.1", api.port) for _ in range(4)]
        assert await streams[0][0].read() == b""
        for _, stream in streams:
            stream.close()

    serve(tmp_path, steps, read_timeout_ms="200ms", connections=3)
