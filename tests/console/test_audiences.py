"""The pages and actions of audiences, with the operations behind them and topics in memory."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import msgspec
import pytest

from segops import config
from segops.console.page import Role
from segops.console.pages import audiences
from segops.core.audiences.model import PLAN_VALID_MS
from segops.core.errors import UserError
from segops.operations import destinations as outside

from .activation_board import Board, act, audience, full
from .activation_fakes import HOSTILE, patch
from .activation_store import MemoryTopics, post_as
from .helpers import PROXY, Browser, MemoryAudit, as_user, serve

FIELDS = {"key": "winback", "segment": "at-risk", "channel": "email"}


@pytest.fixture(autouse=True)
def topics(monkeypatch: pytest.MonkeyPatch) -> MemoryTopics:
    for name, _, _ in config.variables():
        monkeypatch.delenv(name, raising=False)
    patch(monkeypatch.setattr)
    found = MemoryTopics(full())
    found.patch(monkeypatch.setattr)
    return found


# -- what is shown -----------------------------------------------------------------------------------------


def test_list_shows_states_and_is_filtered_by_the_address(topics: MemoryTopics) -> None:
    async def steps(browser: Browser) -> None:
        found = (await browser.get("/audiences.json")).json
        assert found["by_state"] == {
            "draft": 1, "waiting": 1, "active": 1, "held": 1, "paused": 0, "retired": 0,
        }  # fmt: skip
        assert (found["told"], found["dead"]) == (4_093, 3)
        row = next(each for each in found["audiences"] if each["key"] == "winback-email")
        assert (row["state"], row["reach"], row["approved"]) == ("active", 8_301, 8_284)
        held = (await browser.get("/audiences.json?state=held")).json["audiences"]
        assert [each["key"] for each in held] == ["cart-push"]
        by_text = (await browser.get("/audiences.json?q=META-eu")).json["audiences"]
        assert [each["key"] for each in by_text] == ["spring-ads"]
        assert "Win-back by e-mail" in (await browser.get("/audiences")).text

    serve(steps, board=topics.board)


def test_page_shows_the_funnel_down_to_who_was_told(topics: MemoryTopics) -> None:
    async def steps(browser: Browser) -> None:
        found = (await browser.get("/audiences/winback-email.json")).json
        steps_of = [(each["name"], each["left"], each["less"]) for each in found["funnel"]["steps"]]
        assert steps_of == [
            ("in the segment", 12_400, 0),
            ("with an address", 11_020, 1_380),
            ("who consented", 9_310, 1_710),
            ("not suppressed", 9_204, 106),
            ("not held out", 8_284, 920),
            ("members now", 8_301, None),
        ]
        hook, klaviyo = found["funnel"]["told"]
        assert [each["left"] for each in hook["steps"]] == [8_301, 2_181, 2_181, 2_181]
        assert [(each["left"], each["less"]) for each in klaviyo["steps"]] == [
            (8_301, None), (2_181, 6_120), (1_977, 204), (1_912, 65),
        ]  # fmt: skip
        used = {each["name"]: each["used"] for each in found["limits"]}
        assert used["members"] == pytest.approx(8_301 / 50_000)
        assert used["share of all profiles"] == pytest.approx(8_301 / (41_250 * 0.2))
        assert found["approval"]["in_force"] and found["plan"]["void"] == []
        assert found["possible"] == ["apply", "plan", "hold", "pause", "retire"]

    serve(steps, board=topics.board)


def test_state_says_why_it_is_void_or_held(topics: MemoryTopics) -> None:
    async def steps(browser: Browser) -> None:
        held = await browser.get("/audiences/cart-push")
        assert "5,200 entries at once" in held.text and "Release" in held.text
        edited = msgspec.structs.replace(topics.board.definitions["at-risk"], version=2)
        topics.board.definitions["at-risk"] = edited
        found = (await browser.get("/audiences/winback-email.json")).json
        assert (found["state"], found["void"]) == ("draft", ["segment at-risk was edited"])
        assert not found["approval"]["in_force"]
        assert "segment at-risk was edited" in (await browser.get("/audiences/winback-email")).text
        assert (await browser.get("/audiences/none.json")).status == 404

    serve(steps, board=topics.board)


TABS: list[tuple[str, str]] = [
    ("dry+run", "28 messages"),
    ("lift", "+5.71"),
    ("audit", "bob@shop.example"),
    ("definition", "segment: at-risk"),
    ("none", "Funnel of reach"),
]


def test_each_part_is_shown_when_it_is_asked_for(topics: MemoryTopics) -> None:
    async def steps(browser: Browser) -> None:
        for tab, words in TABS:
            answer = await browser.get(f"/audiences/winback-email?tab={tab}")
            assert answer.status == 200 and words in answer.text

    serve(steps, board=topics.board)


def test_messages_are_shown_to_editors_only_and_that_is_audited(topics: MemoryTopics) -> None:
    audit = MemoryAudit()

    async def steps(browser: Browser) -> None:
        path = "/audiences/winback-email"
        for address in (f"{path}?tab=dry+run", f"{path}.json?tab=dry+run"):
            hidden = await browser.get(address, **as_user("viewer"))
            assert hidden.status == 200 and "u1@shop.example" not in hidden.text
        assert audit.entries == []
        shown = await browser.get(f"{path}?tab=dry+run", **as_user("editor"))
        assert "u1@shop.example" in shown.text
        assert [each.action for each in audit.entries] == ["audience.preview"]

    serve(steps, board=topics.board, audit=audit, **PROXY)


def test_hostile_texts_are_shown_as_texts(topics: MemoryTopics) -> None:
    name = HOSTILE[:200]
    hostile = audience(name=name, description=HOSTILE[:2_000], deliver=[{"to": "hook", "note": name}])
    topics.board.add(hostile, "held", note=HOSTILE)

    async def steps(browser: Browser) -> None:
        for path in ("", "/winback-email", "/winback-email?tab=definition", "/winback-email?tab=dry+run"):
            text = (await browser.get(f"/audiences{path}")).text
            assert "<script>alert" not in text
            if "definition" not in path:
                assert "&lt;script&gt;alert" in text, path
        for how in ("", "?as=yaml"):
            text = (await browser.get(f"/audiences/winback-email/edit{how}")).text
            assert "<script>alert" not in text and "&lt;script&gt;" in text

    serve(steps, board=topics.board)


def test_page_is_shown_before_anything_was_read_and_while_kafka_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def hanging(*_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(audiences, "read_audit", hanging)
    monkeypatch.setattr("segops.console.pages._activation.PART_S", 0.01)
    board = full()
    empty = Board()
    empty.as_of_ms = None

    async def steps(browser: Browser) -> None:
        page = await browser.get("/audiences/winback-email?tab=audit")
        assert page.status == 200 and "the audit: no answer within" in page.text

    async def nothing(browser: Browser) -> None:
        page = await browser.get("/audiences")
        assert "No audiences yet" in page.text and "Nothing was read yet" in page.text

    serve(steps, board=board)
    serve(nothing, board=empty)


# -- actions -----------------------------------------------------------------------------------------------


def test_from_a_new_audience_to_its_retirement(topics: MemoryTopics) -> None:
    async def steps(browser: Browser) -> None:
        ann, bob = ("editor", "ann"), ("approver", "bob")

        async def done(action: str, who: tuple[str, str], /, **fields: str) -> Any:
            path = f"/audiences/winback/{action}" if action else "/audiences"
            answer = await post_as(browser, path, fields, *who)
            assert answer.status == 200, answer.text
            return answer.json["data"]

        assert await done("", ann, **FIELDS) == {"key": "winback", "effect": "added"}
        plan = (await done("plan", ann))["plan"]
        await done("submit", ann)
        await done("reject", bob, note="wrong segment")
        assert "wrong segment" in (await browser.get("/audiences/winback", **as_user(*ann))).text
        await done("submit", ann)
        await done("approve", bob, plan=plan, confirmation="winback")
        await done("hold", bob, note="wrong subject")
        await done("release", bob, how="rate", rate="1000/h")
        await done("pause", bob)
        await done("resume", bob)
        await done("retire", bob, confirmation="winback", note="over")

    serve(steps, board=topics.board, **PROXY)
    assert topics.said == [
        ("ann", "apply", "draft", True),
        ("ann", "plan", "draft", True),
        ("ann", "submit", "waiting", True),
        ("bob", "reject", "draft", True),
        ("ann", "submit", "waiting", True),
        ("bob", "approve", "active", True),
        ("bob", "hold", "held", True),
        ("bob", "release", "active", True),
        ("bob", "pause", "paused", True),
        ("bob", "resume", "active", True),
        ("bob", "retire", "retired", True),
    ]
    assert {each.by.origin for each in topics.entries} == {"person"}
    assert all(each.by.client.startswith("console on ") for each in topics.entries)
    assert "audience.winback" not in topics.board.definitions


REFUSED: list[tuple[str, dict[str, str], str]] = [
    ("approve", {"plan": "3f9a1c0b77de", "confirmation": "winback"}, "type vip-thanks to confirm"),
    ("approve", {"plan": "other", "confirmation": "vip-thanks"}, "unknown plan 'other'"),
    ("hold", {}, "cannot hold the audience vip-thanks: it is waiting"),
    ("release", {"how": "rate", "rate": "fast"}, "expected a rate such as 1000/h"),
    ("retire", {"confirmation": ""}, "type vip-thanks to confirm"),
]


def test_action_that_cannot_be_is_refused_and_writes_nothing(topics: MemoryTopics) -> None:
    async def steps(browser: Browser) -> None:
        for action, fields, reason in REFUSED:
            refused = await browser.post(f"/audiences/vip-thanks/{action}", fields, script=True)
            assert refused.status == 422 and reason in refused.json["error"]
        assert topics.entries == []

    serve(steps, board=topics.board)


def test_live_flows_are_begun_only_if_the_person_says_so(
    topics: MemoryTopics, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def begins(destination: Any, *_: Any) -> None:
        raise UserError(f"{destination.name}: the list XyZ123 begins a live flow")

    monkeypatch.setattr(outside, "refuse_for_existing", begins)
    topics.board.add(audience(key="all-at-once", existing="send"), "waiting", submitted=act())

    async def steps(browser: Browser) -> None:
        fields = {"plan": "3f9a1c0b77de", "confirmation": "all-at-once"}
        page = (await browser.get("/audiences/all-at-once")).text
        assert "16,602 messages" in page and 'name="flows"' in page
        refused = await browser.post("/audiences/all-at-once/approve", fields, script=True)
        assert "existing: send, and klaviyo-main: the list XyZ123 begins" in refused.json["error"]
        assert topics.entries == []
        path = "/audiences/all-at-once/approve"
        assert (await browser.post(path, {**fields, "flows": "on"}, script=True)).status == 200

    serve(steps, board=topics.board)


def test_reach_that_moved_is_not_approved(topics: MemoryTopics) -> None:
    topics.members = 9_900

    async def steps(browser: Browser) -> None:
        fields = {"plan": "3f9a1c0b77de", "confirmation": "vip-thanks"}
        refused = await browser.post("/audiences/vip-thanks/approve", fields, script=True)
        assert "the reach moved by more than 5 %: from 8,284 to 9,900" in refused.json["error"]

    serve(steps, board=topics.board)


@pytest.fixture
def approval_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGOPS_APPROVAL", "other")
    monkeypatch.setenv("SEGOPS_AUDIT_KEY", "k" * 32)
    monkeypatch.setenv("SEGOPS_ACTORS", f"ann={hashlib.sha256(b'token').hexdigest()}")


@pytest.mark.usefixtures("approval_by_another")
def test_who_submitted_or_edited_cannot_approve_where_four_eyes_are_demanded(topics: MemoryTopics) -> None:
    async def steps(browser: Browser) -> None:
        async def do(action: str, name: str, **fields: str) -> Any:
            path = f"/audiences/winback/{action}" if action else "/audiences"
            return await post_as(browser, path, fields, "admin", name)

        await do("", "ann", **FIELDS)
        plan = (await do("plan", "bob")).json["data"]["plan"]
        assert (await do("submit", "bob")).status == 200
        before = len(topics.entries)
        for name in ("ann", "bob", "Bob", "ANN"):
            refused = await do("approve", name, plan=plan, confirmation="winback")
            assert refused.status == 422
            assert f"{name} may not approve the audience winback" in refused.json["error"]
        assert len(topics.entries) == before and topics.board.audiences["winback"].state == "waiting"
        assert (await do("approve", "cal", plan=plan, confirmation="winback")).status == 200
        assert topics.said[-1] == ("cal", "approve", "active", True)

    serve(steps, board=topics.board, **PROXY)


@pytest.mark.usefixtures("approval_by_another")
def test_no_one_acts_without_a_login_where_four_eyes_are_demanded(topics: MemoryTopics) -> None:
    async def steps(browser: Browser) -> None:
        for path, fields in (("/audiences", FIELDS), ("/audiences/vip-thanks/plan", {})):
            refused = await browser.post(path, fields, script=True)
            assert "SEGOPS_APPROVAL=other requires a login" in refused.json["error"]
        assert topics.entries == []

    serve(steps, board=topics.board)


def test_name_that_no_person_can_have_does_nothing(topics: MemoryTopics) -> None:
    async def steps(browser: Browser) -> None:
        for name in ("ai:drafter", "@ann"):
            refused = await post_as(browser, "/audiences", FIELDS, "admin", name)
            assert "is no name of a person who acts" in refused.json["error"]
        assert topics.entries == []
        assert (await post_as(browser, "/audiences", FIELDS, "admin", "Ann Example")).status == 200
        assert [each.by.actor for each in topics.entries] == ["Ann Example"]

    serve(steps, board=topics.board, **PROXY)


def test_actions_are_offered_to_those_who_may_take_them(topics: MemoryTopics) -> None:
    async def steps(browser: Browser) -> None:
        offered = {}
        for role in ("viewer", "editor", "approver"):
            found = await browser.get("/audiences/vip-thanks.json", **as_user(role))
            offered[role] = set(found.json["possible"])
        assert offered["viewer"] == {"apply"}
        assert offered["editor"] == {"apply", "plan"}
        assert offered["approver"] == {"apply", "plan", "approve", "reject", "retire"}
        page = await browser.get("/audiences/vip-thanks", **as_user("viewer"))
        assert "/edit" not in page.text and 'action="/audiences/' not in page.text

    serve(steps, board=topics.board, **PROXY)


def test_roles_of_the_actions() -> None:
    roles = {each.name: each.role for each in audiences.ACTIONS}
    editors = {"audience.apply", "audience.plan", "audience.submit"}
    assert {name for name, role in roles.items() if role == Role.EDITOR} == editors
    assert {role for name, role in roles.items() if name not in editors} == {Role.APPROVER}


def test_plan_is_void_once_its_time_is_over(topics: MemoryTopics) -> None:
    async def steps(browser: Browser) -> None:
        browser.clock.now_ms += PLAN_VALID_MS
        found = (await browser.get("/audiences/vip-thanks.json")).json
        assert found["state"] == "draft" and "it is older than 24 h" in found["plan"]["void"]

    serve(steps, board=topics.board)
