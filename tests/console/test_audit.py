"""The access audit: an entry before anything is done or shown, and how it ended; no entry, no change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from segops import config
from segops.console.access.passwords import matches, read_hash
from segops.console.page import Action, Conflict, Context, Data, Done, NotFound, Page, Role
from segops.console.pages import settings as settings_page
from segops.console.server import Tables
from segops.core.errors import UserError
from segops.operations.access_audit import AccessQuery, found_in
from segops.schemas.access_audit import AccessEntry
from segops.schemas.erasures import hashed
from tests.command import run as run_command

from .helpers import NOW_MS, PROXY, USERS, Browser, MemoryAudit, as_user, entries_of, login, login_as, serve
from .test_access import Empty, done

HOSTILE = "<script>alert(1)</script>\u202e" + "x" * 2_000


class Publish(BaseModel):
    key: str
    password: SecretStr = SecretStr("")


class Service:
    """Something that actions change."""

    def __init__(self) -> None:
        self.published: list[str] = []

    async def publish(self, context: Context[Any], form: Publish) -> Done:
        errors: dict[str, Exception] = {
            "taken": UserError("it is taken"),
            "stale": Conflict("it was changed"),
            "gone": NotFound("it is gone"),
            "broken": ZeroDivisionError("detail"),
        }
        if form.key in errors:
            raise errors[form.key]
        self.published.append(form.key)
        return Done("/", "Published.")

    async def profile(self, context: Context[Any]) -> Data:
        await context.audit("profile.read", {"fields": ["email"]})
        return {"status": 0, "message": "ann@shop.example"}

    @property
    def tables(self) -> Tables:
        noted: Callable[[Publish], Data] = lambda form: {"key": form.key}  # noqa: E731
        return Tables(
            (Page("/people/{id}", "error.html", "A person", self.profile),),
            (
                Action(
                    "/segments/{key}/publish",
                    "segment.publish",
                    Publish,
                    self.publish,
                    Role.EDITOR,
                    noted=noted,
                ),
            ),
        )


def test_a_change_is_in_the_audit_before_it_is_made_and_again_when_it_is_done() -> None:
    service = Service()

    async def steps(browser: Browser) -> None:
        user = as_user("editor")
        token = (await browser.get("/session.json", **user)).json["csrf"]
        await browser.submit(
            "/segments/a%2Fb/publish", {"key": "vip", "password": "geheim"}, token=token, **user
        )
        begun, ended = browser.audit.entries
        assert begun.id == ended.id and (begun.result, ended.result) == ("begun", "done")
        assert (begun.user, begun.role, begun.login, begun.address) == ("ann", "editor", "proxy", "127.0.0.1")
        assert (begun.action, begun.object, begun.data) == (
            "segment.publish",
            "/segments/a/b/publish",
            {"key": "vip"},
        )
        assert begun.at_ms == NOW_MS and b"geheim" not in msgspec.json.encode(browser.audit.entries)

    serve(steps, tables=service.tables, **PROXY)


@pytest.mark.parametrize(
    ("key", "status", "result"),
    [
        ("taken", 422, "refused: it is taken"),
        ("stale", 409, "refused: it was changed"),
        ("gone", 404, "refused: it is gone"),
        ("broken", 500, "failed: ZeroDivisionError"),
    ],
)
def test_what_was_not_done_is_in_the_audit_with_the_reason(key: str, status: int, result: str) -> None:
    async def steps(browser: Browser) -> None:
        answer = await browser.post("/segments/a/publish", {"key": key}, script=True)
        assert answer.status == status
        assert browser.audit.said == [("segment.publish", "begun"), ("segment.publish", result)]

    serve(steps, tables=Service().tables)


def test_what_only_computes_is_not_in_the_audit_and_needs_none() -> None:
    async def steps(browser: Browser) -> None:
        assert (await browser.post("/estimate")).status == 303
        assert browser.audit.entries == []

    estimate = Action("/estimate", "draft.estimate", Empty, done, Role.VIEWER, changes=False)
    serve(steps, tables=Tables(actions=(estimate,)), audit=MemoryAudit(down=True))


def test_an_invalid_form_is_no_attempt() -> None:
    async def steps(browser: Browser) -> None:
        assert (await browser.post("/segments/a/publish", {}, script=True)).status == 422
        assert browser.audit.entries == []

    serve(steps, tables=Service().tables)


def test_without_the_audit_nothing_is_changed_and_nothing_personal_shown() -> None:
    service, audit = Service(), MemoryAudit(down=True)

    async def steps(browser: Browser) -> None:
        answer = await browser.post("/segments/a/publish", {"key": "vip"}, script=True)
        assert answer.status == 503 and "Nothing was done or shown" in answer.json["error"]
        for path in ("/people/u1", "/people/u1.json"):
            page = await browser.get(path)
            assert page.status == 503 and "ann@shop" not in page.text
        assert service.published == []
        assert browser.registry.get_sample_value("segops_console_audit_failures_total") == 3

    serve(steps, tables=service.tables, audit=audit)


def test_a_change_whose_outcome_cannot_be_written_is_answered_all_the_same() -> None:
    class Fails(MemoryAudit):
        async def write(self, entry: AccessEntry) -> None:
            self.down = entry.result != "begun"
            await super().write(entry)

    service, audit = Service(), Fails()

    async def steps(browser: Browser) -> None:
        assert (await browser.post("/segments/a/publish", {"key": "vip"}, script=True)).status == 200
        assert service.published == ["vip"] and audit.said == [("segment.publish", "begun")]

    serve(steps, tables=service.tables, audit=audit)


def test_a_read_of_a_person_is_in_the_audit_with_its_object() -> None:
    async def steps(browser: Browser) -> None:
        assert (await browser.get("/people/user_id%3Au1.json")).status == 200
        (entry,) = entries_of(browser.audit, "profile.read")
        assert (entry.object, entry.result, entry.data) == (
            f"/people/sha256:{hashed('user_id:u1')}.json",
            "read",
            {"fields": ["email"]},
        )

    serve(steps, tables=Service().tables)


def test_sign_ins_are_in_the_audit_and_happen_without_it() -> None:
    async def steps(browser: Browser) -> None:
        await login_as(browser, "editor")
        await browser.post("/logout")
        assert browser.audit.said == [("session.begin", "done"), ("session.end", "done")]
        await login(browser, name="editor", password="wrong")
        browser.audit.down = True
        assert (await login_as(browser, "editor")).status == 303
        assert len(browser.audit.entries) == 2

    serve(steps, users=USERS)


def test_a_stop_in_the_middle_leaves_an_attempt_without_an_outcome_or_a_failed_one() -> None:
    began = asyncio.Event()

    async def hang(_context: Context[Any], _form: Empty) -> Done:
        began.set()
        await asyncio.Event().wait()
        return Done("/", "")

    async def steps(browser: Browser) -> None:
        posting = asyncio.create_task(browser.post("/hang"))
        await began.wait()
        posting.cancel()
        await browser.client.server.close()
        assert browser.audit.said == [("a.hang", "begun"), ("a.hang", "failed: stopped")]

    serve(steps, tables=Tables(actions=(Action("/hang", "a.hang", Empty, hang, Role.VIEWER),)))


# -- reading -----------------------------------------------------------------------------------------------


def entry(number: int, result: str = "done", **changed: Any) -> AccessEntry:
    found = AccessEntry(
        f"id{number}",
        number,
        "ann",
        "admin",
        "open",
        "::1",
        "segment.publish",
        f"/segments/s{number}",
        {},
        result,
    )
    return msgspec.structs.replace(found, **changed)


def records(entries: list[AccessEntry]) -> list[Any]:
    return [SimpleNamespace(offset=n, value=msgspec.json.encode(each)) for n, each in enumerate(entries)]


def test_a_change_and_its_outcome_are_one_entry_as_of_its_beginning() -> None:
    found = found_in(
        records([entry(1, "begun"), entry(2, "read"), entry(1, "done", at_ms=9)]),
        AccessQuery(),
        complete=True,
    )
    assert [(offset, each.at_ms, each.result) for offset, each in found.entries] == [
        (1, 2, "read"),
        (0, 1, "done"),
    ]


def test_records_that_are_no_entries_are_counted() -> None:
    broken = [SimpleNamespace(offset=5, value=value) for value in (b"", None, b"{}", b"\xff")]
    found = found_in([*records([entry(1)]), *broken], AccessQuery(), complete=False)
    assert (len(found.entries), found.unreadable, found.complete) == (1, 4, False)


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        (AccessQuery(user="bob"), [2]),
        (AccessQuery(user="bo"), []),
        (AccessQuery(action="segment.publish"), [3, 1]),
        (AccessQuery(action="profile."), [2]),
        (AccessQuery(action="profile"), []),
        (AccessQuery(text="S3"), [3]),
        (AccessQuery(text="user_id:u1"), [2]),
        (AccessQuery(text="user_id:u4"), [4]),
        (AccessQuery(since_ms=2), [4, 3, 2]),
        (AccessQuery(until_ms=2), [1]),
        (AccessQuery(before=1), [1]),
    ],
)
def test_entries_are_found_by_user_action_object_and_time(query: AccessQuery, numbers: list[int]) -> None:
    read = entry(2, "read", user="bob", action="profile.read", data={"profile": "user_id:u1"})
    path = f"/people/sha256:{hashed('user_id:u4')}"
    of_a_page = entry(4, "read", user="eve", action="person.read", object=path)
    found = found_in(records([entry(1), read, entry(3), of_a_page]), query, complete=True)
    assert [each.at_ms for _, each in found.entries] == numbers


@settings(max_examples=40)
@given(st.lists(st.integers(0, 6), max_size=30), st.integers(1, 5))
def test_pages_of_the_list_are_the_whole_list(ids: list[int], limit: int) -> None:
    log = records([entry(number) for number in ids])
    whole = found_in(log, AccessQuery(limit=100), complete=True).entries
    paged, before = [], None
    while True:
        part = found_in(log, AccessQuery(limit=limit, before=before), complete=True)
        assert len(part.entries) <= limit
        paged += part.entries
        before = part.after
        if before is None:
            break
    assert paged == whole and len(whole) == len(set(ids))


def test_the_audit_page_shows_hostile_entries_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = entry(1, f"refused: {HOSTILE}", user=HOSTILE, object=HOSTILE, data={HOSTILE: HOSTILE, "n": [1]})

    async def read(_settings: Any, query: AccessQuery) -> Any:
        assert (query.user, query.text, query.before) == ("ann", "vip", 7)
        return found_in(records([hostile, entry(2)]), AccessQuery(limit=1), complete=False)

    monkeypatch.setattr(settings_page, "read_entries", read)

    async def steps(browser: Browser) -> None:
        answer = await browser.get("/settings/audit?user=ann&object=vip&before=7&range=1d")
        assert answer.status == 200 and "before=1" in answer.text
        twin = (await browser.get("/settings/audit.json?user=ann&object=vip&before=7")).json
        assert twin["cli"].startswith("segops console audit --user ann --object vip --since 2026-11-20T")
        assert twin["complete"] is False

        async def all_of_it(_settings: Any, _query: AccessQuery) -> Any:
            return found_in(records([hostile]), AccessQuery(), complete=True)

        monkeypatch.setattr(settings_page, "read_entries", all_of_it)
        page = (await browser.get("/settings/audit")).text
        assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page

    serve(steps)


def test_the_audit_page_says_what_keeps_it_from_being_read() -> None:
    async def steps(browser: Browser) -> None:
        page = await browser.get("/settings/audit")
        assert page.status == 200 and "Not all can be shown: cannot reach a Kafka broker" in page.text
        wrong = (await browser.get("/settings/audit.json?since=soon")).json
        assert wrong["missing"].startswith("since: expected an instant")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGOPS_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
        serve(steps)


def test_the_settings_page_shows_no_secret() -> None:
    secrets = {"SEGOPS_KAFKA_SASL_PASSWORD": "geheim1", "SEGOPS_AUDIT_KEY": "geheim2" * 8}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in secrets.items():
            patch.setenv(name, value)

        async def steps(browser: Browser) -> None:
            for path in ("/settings", "/settings.json"):
                text = (await browser.get(path)).text
                assert "geheim" not in text and "(secret)" in text
            found = {each["name"]: each for each in (await browser.get("/settings.json")).json["settings"]}
            assert found["SEGOPS_AUDIT_KEY"]["value"] == "(secret)"
            assert found["SEGOPS_AUDIT_KEY"]["default"] is False
            assert found["SEGOPS_CONSOLE_SESSION"]["value"] == "12h"
            assert set(found) == {name for name, _, _ in config.variables()}

        serve(steps)


def test_a_hash_is_made_of_a_password_that_is_piped_in() -> None:
    made = run_command("console", "hash", text="longsecret\n")
    assert made.status == 0 and matches(read_hash(made.out.strip()), "longsecret")
    assert run_command("console", "hash", text="short\n").status == 2
