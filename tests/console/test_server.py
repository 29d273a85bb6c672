"""What the console serves from its tables: pages, JSON, forms, files, and what it says of failures."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel, Field

from segops.console.page import Action, Conflict, Context, Data, Done, NotFound, Page, Role
from segops.console.server import Tables
from segops.core.errors import UserError
from segops.kafka.reachability import Unreachable

from .helpers import NOW_MS, Browser, serve

HOSTILE = "<script>alert(1)</script>\"'\u202e" + "x" * 2_000


class Rename(BaseModel):
    name: str = Field(min_length=2)
    count: int = 1
    tags: list[str] = []


async def thing(context: Context[Any]) -> Data:
    if context.arguments["key"] == "none":
        raise NotFound("There is no thing none.")
    return {"status": 1, "message": context.arguments["key"], "query": dict(context.query)}


async def rename(context: Context[Any], form: Rename) -> Done:
    if form.name == "taken":
        raise UserError("the name is taken")
    if form.name == "stale":
        raise Conflict("it was changed", {"now": "other"})
    if form.name == "broken":
        raise ZeroDivisionError
    return Done(f"/things/{form.name}", f"Renamed to {form.name}.", {"count": form.count, "tags": form.tags})


async def slow(_context: Context[Any]) -> Data:
    raise TimeoutError


async def wrong(_context: Context[Any]) -> Data:
    raise UserError("at: expected an instant")


async def away(_context: Context[Any]) -> Data:
    raise Unreachable("cannot reach a Kafka broker", ())


async def broken(_context: Context[Any]) -> Data:
    raise ZeroDivisionError("secret detail")


TABLES = Tables(
    (
        Page("/things/{key}", "error.html", "A thing", thing),
        Page("/slow", "error.html", "Slow", slow),
        Page("/wrong", "error.html", "Wrong", wrong),
        Page("/away", "error.html", "Away", away),
        Page("/broken", "error.html", "Broken", broken),
    ),
    (Action("/things/{key}/rename", "thing.rename", Rename, rename, Role.EDITOR),),
)


def test_a_page_and_its_json_show_the_same_data() -> None:
    async def steps(browser: Browser) -> None:
        page, twin = await browser.get("/things/a?q=1"), await browser.get("/things/a.json?q=1")
        assert page.status == twin.status == 200
        assert "<h1>A thing</h1>" in page.text and 'href="/things/a.json?q=1"' in page.text
        assert twin.json == {"status": 1, "message": "a", "query": {"q": "1"}}

    serve(steps, tables=TABLES)


def test_a_page_can_be_asked_for_without_its_body() -> None:
    async def steps(browser: Browser) -> None:
        answer = await browser.send("HEAD", "/things/a", headers={})
        assert (answer.status, answer.text) == (200, "") and int(answer.headers["Content-Length"]) > 500

    serve(steps, tables=TABLES)


def test_what_a_path_names_is_decoded_once() -> None:
    async def steps(browser: Browser) -> None:
        for name, key in (("user_id%3Aa%2Fb", "user_id:a/b"), ("%7Bx%7D", "{x}"), ("a%2541", "a%41")):
            assert (await browser.get(f"/things/{name}.json")).json["message"] == key

    serve(steps, tables=TABLES)


def test_hostile_text_is_shown_as_text() -> None:
    async def steps(browser: Browser) -> None:
        from segops.console.rendering import quoted

        page = await browser.get(f"/things/{quoted(HOSTILE)}")
        assert page.status == 200 and "<script>alert" not in page.text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;&#34;" in page.text

    serve(steps, tables=TABLES)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nothing", 404),
        ("/things/none", 404),
        ("/slow", 504),
        ("/broken", 500),
        ("/wrong", 400),
        ("/away", 503),
    ],
)
def test_a_failure_has_a_page_and_json_without_details(path: str, status: int) -> None:
    async def steps(browser: Browser) -> None:
        page, twin = await browser.get(path), await browser.get(f"{path}.json")
        assert page.status == twin.status == status
        assert "<h1>" in page.text and set(twin.json) == {"error"}
        assert "secret detail" not in page.text + twin.text

    serve(steps, tables=TABLES)


def test_a_form_is_done_and_the_next_page_says_so_once() -> None:
    async def steps(browser: Browser) -> None:
        done = await browser.post("/things/a/rename", {"name": "bb", "count": "", "tags": "x"})
        assert (done.status, done.headers["Location"]) == (303, "/things/bb")
        assert "Renamed to bb." in (await browser.get("/things/bb")).text
        assert "Renamed to bb." not in (await browser.get("/things/bb")).text
        script = await browser.post("/things/a/rename", {"name": "cc", "tags": ["x", "y"]}, script=True)
        assert script.json == {
            "location": "/things/cc",
            "message": "Renamed to cc.",
            "data": {"count": 1, "tags": ["x", "y"]},
        }

    serve(steps, tables=TABLES)


def test_a_refused_form_is_shown_again_on_its_page_with_its_errors() -> None:
    async def steps(browser: Browser) -> None:
        referer = str(browser.client.make_url("/things/a?q=1"))
        for fields, text in (({"name": "b"}, "at least 2"), ({"name": "taken"}, "the name is taken")):
            page = await browser.post("/things/a/rename", fields, Referer=referer)
            assert page.status == 422 and "A thing" in page.text
            script = await browser.post("/things/a/rename", fields, script=True)
            assert script.status == 422 and text in script.text
        assert (await browser.post("/things/a/rename", {"name": "taken"})).status == 422

    serve(steps, tables=TABLES)


def test_a_stale_edit_is_a_conflict_with_the_difference() -> None:
    async def steps(browser: Browser) -> None:
        refused = await browser.post("/things/a/rename", {"name": "stale"}, script=True)
        assert (refused.status, refused.json["data"]) == (409, {"now": "other"})
        assert (await browser.post("/things/a/rename", {"name": "stale"})).status == 409

    serve(steps, tables=TABLES)


def test_only_forms_and_json_are_read_and_not_without_limit() -> None:
    async def steps(browser: Browser) -> None:
        token = (await browser.get("/session.json")).json["csrf"]
        headers = {"X-CSRF-Token": token, "Accept": "application/json"}
        for data, kind, status in (
            ("{", "application/json", 400),
            ("[]", "application/json", 400),
            ("name=%ff", "application/x-www-form-urlencoded", 400),
            ("name=x", "text/plain", 415),
            ("name=" + "x" * 2_000, "application/x-www-form-urlencoded", 413),
        ):
            answer = await browser.send(
                "POST", "/things/a/rename", headers={**headers, "Content-Type": kind}, data=data
            )
            assert (kind, answer.status) == (kind, status)

    serve(steps, tables=TABLES, body_bytes="1024")


def test_an_action_is_not_done_by_get() -> None:
    async def steps(browser: Browser) -> None:
        answer = await browser.get("/things/a/rename")
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")

    serve(steps, tables=TABLES)


def test_static_files_are_immutable_under_their_digest_only() -> None:
    async def steps(browser: Browser) -> None:
        page = await browser.get("/settings")
        url = page.text.partition('src="')[2].partition('"')[0]
        found = await browser.get(url)
        assert found.status == 200 and "immutable" in found.headers["Cache-Control"]
        assert found.headers["Content-Type"].startswith("text/javascript")
        again = await browser.get(url, If_None_Match=found.headers["ETag"])
        assert (again.status, again.text) == (304, "")
        digest = url.split("/")[2]
        other = await browser.get(url.replace(digest, "0" * 16))
        assert other.status == 200 and other.headers["Cache-Control"] == "no-cache"
        for path in ("../page.py", "%2e%2e/page.py", "js/none.js", "/etc/passwd"):
            assert (await browser.get(f"/static/{digest}/{path}")).status == 404

    serve(steps)


def test_pages_are_compressed_and_never_stored() -> None:
    async def steps(browser: Browser) -> None:
        page = await browser.get("/settings", Accept_Encoding="br, gzip")
        assert page.headers["Content-Encoding"] == "gzip" and page.headers["Cache-Control"] == "no-store"
        assert "Content-Encoding" not in (await browser.get("/settings", Accept_Encoding="identity")).headers

    serve(steps)


def test_requests_are_counted_by_route() -> None:
    async def steps(browser: Browser) -> None:
        await browser.get("/things/a")
        await browser.get("/nothing/%3Cb%3E")
        value = browser.registry.get_sample_value
        assert value("segops_console_requests_total", {"route": "/things/{key}", "code": "200"}) == 1
        assert value("segops_console_requests_total", {"route": "unknown", "code": "404"}) == 1

    serve(steps, tables=TABLES)


def test_the_clock_of_a_page_is_the_servers() -> None:
    seen = []

    async def view(context: Context[Any]) -> Data:
        seen.append(context.now_ms)
        return {"status": 0, "message": ""}

    async def steps(browser: Browser) -> None:
        await asyncio.gather(browser.get("/now"), browser.get("/now.json"))

    serve(steps, tables=Tables((Page("/now", "error.html", "Now", view),)))
    assert seen == [NOW_MS, NOW_MS]
