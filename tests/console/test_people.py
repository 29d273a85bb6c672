"""People: looked up, browsed, explained, imagined; and hidden from those who may not see them."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from urllib.parse import quote

import msgspec
import pytest

from segops.console.pages import people as people_page
from segops.console.pages import person as person_page
from segops.console.people.handles import HIDDEN, Handles
from segops.console.people.sent import SentEntry, _take_told
from segops.core.delivery.messages import Person
from segops.core.delivery.model import Delivery, Target, Told
from segops.operations.members import MemberRow, MembersNow, _Newest
from segops.schemas.delivery import encode_told
from segops.schemas.erasures import hashed
from tests.console.helpers import Browser, MemoryAudit

from .people import ADMIN, ANN, DAY, EDITOR, EVIL, NOON, SECRETS, VIEWER, FakeBoard, with_people

PATH = f"/people/{quote(ANN, safe='')}"
EVIL_PATH = f"/people/{quote(f'user_id:{EVIL}', safe='')}"
NOWHERE = "http://127.0.0.1:1"
TABS = ("segments", "profile", "timeline", "past", "sent")


async def members(*_args: object, **_options: object) -> MembersNow:
    rows = [
        MemberRow(ANN, NOON - DAY, "event", NOON + DAY, 1, True),
        MemberRow("user_id:bob", 5, "time", None, 1, True),
    ]
    return MembersNow(rows, 7)


async def sent(*_args: object) -> list[SentEntry]:
    person = Person(ANN)
    target = Target(True, "c1", 1, "event", 1, 2, person, since_ms=NOON - DAY)
    told = Told(True, "c1", ANN, NOON)
    return [SentEntry(Delivery("crm", "winback"), "ann@shop.example", target, told)]


@pytest.fixture(autouse=True)
def no_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people_page, "newest_members", members)
    monkeypatch.setattr(person_page, "read_sent", sent)


def test_a_person_is_found_by_any_identifier(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(browser: Browser) -> None:
        for text in ("user_id:ann", "ann", "Ann@Shop.example", " email:Ann@shop.example "):
            found = (await browser.get(f"/people.json?id={quote(text)}", **EDITOR)).json["found"]
            assert found["person"]["path"] == PATH, text
            assert [each["key"] for each in found["person"]["segments"]] == ["buyer", "champions", "local"]
        missing = (await browser.get("/people.json?id=bob", **EDITOR)).json["found"]
        assert (missing["person"], missing["missing"]) == (None, "no profile has this identifier")
        page = await browser.get("/people?id=bob", **EDITOR)
        assert "No one was found: no profile has this identifier." in page.text
        assert browser.audit.said[:1] == [("person.look_up", "read")]
        assert "ann" not in str(browser.audit.entries[0].data)

    with_people(steps, monkeypatch)


def test_members_of_a_segment_are_browsed_and_filtered(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(browser: Browser) -> None:
        found = (await browser.get("/people.json?segment=buyer", **EDITOR)).json["members"]
        assert [each["id"] for each in found["rows"]] == [ANN, "user_id:bob"]
        assert (found["total"], found["rows"][0]["until_ms"], found["rows"][0]["path"]) == (
            7,
            NOON + DAY,
            PATH,
        )
        for query, ids in (("q=BOB", ["user_id:bob"]), ("reason=event", [ANN]), ("leaving=yes", [ANN])):
            some = (await browser.get(f"/people.json?segment=buyer&{query}", **EDITOR)).json["members"]
            assert [each["id"] for each in some["rows"]] == ids
        page = await browser.get("/people?segment=buyer", **EDITOR)
        assert "7 members; the 2 who entered last can be browsed" in page.text
        assert ("person.members", "read") in browser.audit.said

    with_people(steps, monkeypatch)


def test_a_person_has_memberships_with_reasons_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(browser: Browser) -> None:
        found = (await browser.get(f"{PATH}.json", **EDITOR)).json
        buyer = next(each for each in found["part"]["memberships"] if each["segment"] == "buyer")
        assert (buyer["since_ms"], buyer["event_id"], buyer["until_ms"]) == (
            NOON - DAY,
            "m-secret-2",
            NOON + 29 * DAY,
        )
        assert (buyer["because"]["label"], buyer["because"]["holds"]) == (
            "did Order Completed within 30d",
            True,
        )
        why = (await browser.get(f"{PATH}.json?tab=segments&why=idle", **EDITOR)).json["part"]["other"]
        assert (why["member"], why["until_ms"], why["because"]["holds"]) == (
            False,
            NOON + 71 * 3_600_000,
            False,
        )
        page = await browser.get(f"{PATH}?why=idle", **EDITOR)
        assert "did Order Completed within 30d" in page.text and "not a member" in page.text
        assert browser.audit.said == [("person.read", "read")] * 3

    with_people(steps, monkeypatch)


def test_the_other_parts_of_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(browser: Browser) -> None:
        profile = (await browser.get(f"{PATH}.json?tab=profile", **EDITOR)).json
        assert {"name": "city", "value": "Berlin"} in profile["traits"]
        assert profile["part"]["rfm"]["tier"] == "new"
        assert (profile["part"]["rfm"]["orders"], profile["part"]["rfm"]["net"]) == (1, 79.5)
        timeline = (await browser.get(f"{PATH}.json?tab=timeline&kind=event", **EDITOR)).json["part"]
        assert [each["name"] for each in timeline["entries"]] == ["Page", "Order Completed", "identify"]
        assert timeline["next"][0] == {"segment": "buyer", "name": "buyer", "at_ms": NOON + 29 * DAY}
        past = (await browser.get(f"{PATH}.json?tab=past", **EDITOR)).json["part"]["past"]
        assert [(each["segment"], each["began_by"], each["ended_by"]) for each in past] == [
            ("idle", "time passing", "an event")
        ]
        sent = (await browser.get(f"{PATH}.json?tab=sent", **EDITOR)).json["part"]["sent"]
        assert (sent[0]["audience"], sent[0]["told_ms"], sent[0]["address"]) == (
            "winback",
            NOON,
            "ann@shop.example",
        )
        for tab in TABS:
            assert (await browser.get(f"{PATH}?tab={tab}", **EDITOR)).status == 200

    with_people(steps, monkeypatch)


def viewer_path(browser_json: Mapping[str, object]) -> str:
    found = browser_json["members"]["rows"][0]["path"]  # type: ignore[index]
    assert isinstance(found, str)
    return found


def test_viewers_see_no_personal_data_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(browser: Browser) -> None:
        listed = await browser.get("/people.json?segment=buyer", **VIEWER)
        path = viewer_path(listed.json)
        assert listed.json["members"]["rows"][0]["id"].startswith(f"user_id:{HIDDEN}")
        addresses = ["/people?segment=buyer", "/people.json?segment=buyer&q=ann", f"{path}/sandbox"]
        addresses += [f"{path}/sandbox.json?days=90", f"{path}?why=local", f"{path}.json?why=local"]
        addresses += [f"{path}{form}?tab={tab}" for tab in TABS for form in ("", ".json")]
        for address in addresses:
            answer = await browser.get(address, **VIEWER)
            assert answer.status == 200, address
            text = answer.text.replace("q=ann", "")
            assert [each for each in SECRETS if each in text] == [], address
        shown = (await browser.get(f"{path}.json?tab=profile", **VIEWER)).json
        assert {"name": "city", "value": HIDDEN} in shown["traits"]
        editor = await browser.get(f"{path}.json", **EDITOR)
        assert editor.json["id"] == ANN

    with_people(steps, monkeypatch)


def test_viewers_may_not_name_people(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(browser: Browser) -> None:
        for address in (PATH, f"{PATH}.json", f"{PATH}/sandbox", "/people?id=ann", "/people.json?id=ann"):
            assert (await browser.get(address, **VIEWER)).status == 403, address
        assert (await browser.get("/people/~AAAA", **VIEWER)).status == 404
        assert (await browser.get(f"{PATH}/draft", **VIEWER)).status == 403
        assert (await browser.get(f"{PATH}?tab=manage", **EDITOR)).status == 403
        assert browser.audit.entries == []

    with_people(steps, monkeypatch)


def test_hostile_ids_traits_and_events_are_shown_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(browser: Browser) -> None:
        pages = [f"{EVIL_PATH}?tab={tab}" for tab in TABS]
        pages += [f"{EVIL_PATH}/sandbox", f"{EVIL_PATH}/draft", f"/people?id={quote(f'user_id:{EVIL}')}"]
        pages += [
            f"{EVIL_PATH}/sandbox?events={quote(EVIL)}",
            f"/people?segment={quote(EVIL)}&q={quote(EVIL)}",
        ]
        for address in pages:
            answer = await browser.get(address, **EDITOR)
            assert answer.status == 200, address
            assert "<script>alert" not in answer.text, address
        assert (await browser.get(f"{EVIL_PATH}?tab=manage", **ADMIN)).status == 200

    with_people(steps, monkeypatch)


def test_unknown_people_and_workers_that_are_away(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(browser: Browser) -> None:
        assert (await browser.get("/people/user_id%3Abob", **EDITOR)).status == 404
        assert (await browser.get("/people/ann", **EDITOR)).status == 404

    with_people(steps, monkeypatch)

    async def alone(browser: Browser) -> None:
        page = await browser.get(PATH, **EDITOR)
        assert (page.status, f"People cannot be shown now: no worker answers at {NOWHERE}" in page.text) == (
            503,
            True,
        )

    class Away(FakeBoard):
        workers = (
            SimpleNamespace(url="http://127.0.0.1:2", answers=False),
            SimpleNamespace(url=NOWHERE, answers=True),
        )

    with_people(alone, monkeypatch, board=Away())


def test_the_audit_holds_no_identifier(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(browser: Browser) -> None:
        await browser.get("/people?id=ann", **EDITOR)
        members = (await browser.get(f"{PATH}.json", **EDITOR)).json["tabs"][0]["href"]
        assert (await browser.get(members, **EDITOR)).status == 200
        masked = (await browser.get("/people.json?segment=buyer", **VIEWER)).json["members"]["rows"][0][
            "path"
        ]
        assert "~" in masked and (await browser.get(f"{masked}/sandbox.json", **VIEWER)).status == 200
        token = (await browser.get("/session.json", **ADMIN)).json["csrf"]
        form = {"confirmation": "bob"}
        refused = await browser.submit(f"{PATH}/erase", form, token=token, script=True, **ADMIN)
        assert (refused.status, f"type {ANN} to confirm" in refused.json["error"]) == (422, True)
        objects = [each.object for each in browser.audit.entries if each.object.startswith("/people/")]
        person = f"/people/sha256:{hashed(ANN)}"
        expected = [f"{person}.json", person, f"{person}/sandbox.json", f"{person}/erase", f"{person}/erase"]
        assert objects == expected
        assert browser.audit.entries[-1].result == "refused"
        written = msgspec.json.encode(browser.audit.entries).decode()
        assert [each for each in (*SECRETS, "~") if each in written] == []

    with_people(steps, monkeypatch)


def test_nothing_is_shown_that_cannot_be_audited(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(browser: Browser) -> None:
        for address in (PATH, f"{PATH}/sandbox", f"{PATH}/draft", "/people?id=ann", "/people?segment=buyer"):
            answer = await browser.get(address, **EDITOR)
            assert (answer.status, ANN in answer.text) == (503, False), address

    with_people(steps, monkeypatch, audit=MemoryAudit(down=True))


def test_a_draft_says_what_the_person_did_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(browser: Browser) -> None:
        found = (await browser.get(f"{PATH}/draft.json", **EDITOR)).json
        assert "did: Order Completed" in found["text"] and "within: 7d" in found["text"]
        assert [each for each in SECRETS if each in found["text"]] == []
        assert found["builder"].startswith("/builder?text=version")
        assert "Open in the builder" in (await browser.get(f"{PATH}/draft", **EDITOR)).text

    with_people(steps, monkeypatch)


def test_handles_hide_and_name_people() -> None:
    handles, others = Handles(b"s" * 32), Handles(b"t" * 32)
    for identifier in (ANN, f"user_id:{EVIL}", "email:" + "x" * 500, "a:b"):
        handle = handles.seal(identifier)
        assert handles.open(handle) == identifier
        assert others.open(handle) is None
        assert identifier not in handle
        for changed in (handle[:-1] + ("A" if handle[-1] != "A" else "B"), handle + "A", "~", "~!", "~é"):
            assert handles.open(changed) in (None, identifier if changed[:-1] == handle[:-1] else None)


def row_of(profile_id: str, at_ms: int, *, member: bool) -> bytes:
    return msgspec.json.encode(MemberRow(profile_id, at_ms, "event", None, 1, member))


def test_the_newest_members_are_kept_and_all_are_counted() -> None:
    newest = _Newest(3)
    for number in range(20):
        newest.apply(b"u%d|vip" % number, row_of(f"u{number}", (number * 7) % 20, member=True))
    newest.apply(b"u1|vip", None)
    newest.apply(b"u2|vip", row_of("u2", 30, member=False))
    newest.apply(b"u3|vip", b"not json")
    found = newest.result()
    assert (found.total, [row.occurred_at for row in found.rows]) == (18, [19, 18, 17])


def test_what_was_sent_is_found_by_profile_and_by_address() -> None:
    class Record:
        def __init__(self, key: bytes, value: bytes | None) -> None:
            self.key, self.value = key, value

    known = {("crm", "winback", "a@x"): SentEntry(Delivery("crm", "winback"), "a@x")}
    told = Told(True, "c", "user_id:other", 5)
    _take_told(known, Record(b'["crm","winback","a@x"]', encode_told(told)), {ANN})
    _take_told(known, Record(b'["crm","vip","b@x"]', encode_told(told)), {ANN})
    _take_told(known, Record(b'["crm","vip","c@x"]', encode_told(Told(False, "d", ANN, 6))), {ANN})
    _take_told(known, Record(b'["","email","c@x"]', b"{}"), {ANN})
    _take_told(known, Record(b"nonsense", b"{}"), {ANN})
    assert sorted(known) == [("crm", "vip", "c@x"), ("crm", "winback", "a@x")]
    assert known["crm", "winback", "a@x"].told == told


def test_a_board_that_has_read_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(browser: Browser) -> None:
        assert (await browser.get("/people", **EDITOR)).status == 200
        assert (await browser.get(f"{PATH}/sandbox", **EDITOR)).status == 200

    class Nothing:
        as_of_ms = None

    with_people(steps, monkeypatch, board=Nothing())
    assert FakeBoard().as_of_ms == NOON
