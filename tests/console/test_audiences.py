"""The pages and actions of audiences, with the operations behind them and topics in memory."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
import yaml

from segops import config
from segops.console.page import Role
from segops.console.pages import audiences
from segops.console.pages._audience_form import AudienceForm, fields_of
from segops.core.audiences.model import PLAN_VALID_MS
from segops.core.errors import UserError
from segops.operations import destinations as outside
from segops.operations.audiences.actions import edition

from .activation_board import WINBACK, Board, act, audience, full
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


def posted(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return the values of the form as a browser posts them."""
    found = {name: str(value) for name, value in fields.items() if name not in ("deliver", "written")}
    for number, row in enumerate(fields.get("deliver", ())):
        found[f"deliver_{number}_to"], found[f"deliver_{number}_options"] = row["to"], row["options"]
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


# -- the form ----------------------------------------------------------------------------------------------


def test_form_of_an_audience_is_that_audience() -> None:
    everything = audience(
        existing="send",
        reasons={"backfill": "quiet", "merge": "quiet"},
        limits={**WINBACK["limits"], "exits": {"at_most": 100, "per": "1m"}},
        alert={"size": "30%", "over": "1d"},
        description="For those who\nwent.",
        purpose="news",
    )
    form = AudienceForm.model_validate(posted(fields_of(everything)))
    assert form.audience().written == everything.written
    by_yaml = AudienceForm.model_validate({"yaml": yaml.safe_dump(dict(everything.written))})
    assert edition(by_yaml.audience()) == edition(everything)
    file = yaml.safe_dump({"version": 1, "audiences": [dict(everything.written)]})
    assert AudienceForm.model_validate({"yaml": file}).audience() == by_yaml.audience()


def test_fields_that_are_left_empty_are_left_out() -> None:
    form = AudienceForm.model_validate({**dict.fromkeys(posted(fields_of(audience())), ""), **FIELDS})
    assert form.audience().written == FIELDS


MISTAKES: list[tuple[dict[str, str], str, str]] = [
    ({"key": "Win Back"}, "key", "expected a key of at most 64"),
    ({"channel": "post"}, "channel", "expected one of"),
    ({"hold_out_percent": "ten", "hold_out_salt": "a"}, "hold_out_percent", "expected a"),
    ({"hold_out_percent": "10"}, "hold_out_percent", "salt"),
    ({"limit_share": "20"}, "limit_share", "expected a share above 0%"),
    ({"limit_members": "0"}, "limit_members", ""),
    ({"entries_at_most": "5", "entries_per": "soon"}, "entries_per", ""),
    ({"exits_at_most": "5"}, "exits_at_most", "per"),
    ({"goal": "{did: A}"}, "goal", "expected a did node with within"),
    ({"goal": "{did: ["}, "goal", "no YAML"),
    ({"suppress": "a\na"}, "suppress", "is there twice"),
    ({"properties": "age"}, "properties", "expected indicator.KEY"),
    ({"deliver_0_to": "", "deliver_3_to": "A B"}, "deliver_3_to", "expected a key"),
    ({"deliver_1_to": "crm", "deliver_1_options": "[1]"}, "deliver_1_options", "expected options"),
    ({"deliver_1_to": "crm", "deliver_1_options": "{A: 1}"}, "deliver_1_options", "name of an option"),
    ({"yaml": "- a"}, "yaml", "expected an audience"),
    ({"yaml": "{key: ["}, "yaml", "no YAML"),
    ({"yaml": "key: a\nsegment: b\nchannel: email\nkeys: 1"}, "yaml", "keys"),
    ({"yaml": "audiences: []"}, "yaml", "expected one audience"),
]


def test_each_mistake_is_at_its_field(topics: MemoryTopics) -> None:
    async def steps(browser: Browser) -> None:
        for changed, field, reason in MISTAKES:
            refused = await browser.post("/audiences", {**FIELDS, **changed}, script=True)
            assert refused.status == 422
            assert list(refused.json["fields"]) == [field]
            assert reason in refused.json["fields"][field]
        assert topics.entries == []

    serve(steps, board=topics.board)


def test_what_was_written_is_kept_beside_the_mistake_without_scripts(topics: MemoryTopics) -> None:
    async def steps(browser: Browser) -> None:
        origin = str(browser.client.make_url("/audiences/_new"))
        page = await browser.post("/audiences", {**FIELDS, "limit_share": "20"}, Referer=origin)
        assert page.status == 422 and 'value="20"' in page.text
        assert "expected a share above 0%" in page.text and 'id="error-limit_share"' in page.text

    serve(steps, board=topics.board)


def test_edit_of_what_was_edited_meanwhile_is_refused_with_the_difference(topics: MemoryTopics) -> None:
    async def steps(browser: Browser) -> None:
        page = (await browser.get("/audiences/winback-email/edit.json")).json
        mine = posted({**page["fields"], "deliver": fields_of(audience())["deliver"]})
        mine |= {"seen": page["seen"], "editing": page["key"]}
        theirs = {**mine, "hold_out_percent": "20"}
        assert (await browser.post("/audiences", theirs, script=True)).status == 200
        refused = await browser.post("/audiences", {**mine, "name": "Mine"}, script=True)
        assert refused.status == 409
        assert "edited the audience winback-email meanwhile" in refused.json["error"]
        lines = refused.json["data"]["difference"]
        assert "-   percent: 20" in lines and "+   percent: 10" in lines and "+ name: Mine" in lines
        again = {**mine, "name": "Mine", "seen": edition(topics.board.audiences["winback-email"].audience)}
        assert (await browser.post("/audiences", again, script=True)).status == 200
        other = await browser.post("/audiences", {**again, "key": "other"}, script=True)
        assert other.status == 422 and "cannot change" in other.json["error"]
        new = await browser.post("/audiences", {**posted(fields_of(audience())), "seen": ""}, script=True)
        assert new.status == 409

    serve(steps, board=topics.board)


def test_edit_of_an_active_audience_makes_it_a_draft(topics: MemoryTopics) -> None:
    async def steps(browser: Browser) -> None:
        seen = edition(topics.board.audiences["winback-email"].audience)
        fields = posted({**fields_of(audience()), "hold_out_percent": 20})
        assert "makes it a draft" in (await browser.get("/audiences/winback-email/edit")).text
        done = await browser.post("/audiences", {**fields, "seen": seen}, script=True)
        assert done.json["data"] == {"key": "winback-email", "effect": "changed"}
        found = (await browser.get("/audiences/winback-email.json")).json
        assert (found["state"], found["authors"]) == ("draft", ["local"])

    serve(steps, board=topics.board)


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
def four_eyes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGOPS_APPROVAL", "other")
    monkeypatch.setenv("SEGOPS_AUDIT_KEY", "k" * 32)
    monkeypatch.setenv("SEGOPS_ACTORS", f"ann={hashlib.sha256(b'token').hexdigest()}")


@pytest.mark.usefixtures("four_eyes")
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


@pytest.mark.usefixtures("four_eyes")
def test_no_one_acts_without_a_login_where_four_eyes_are_demanded(topics: MemoryTopics) -> None:
    async def steps(browser: Browser) -> None:
        for path, fields in (("/audiences", FIELDS), ("/audiences/vip-thanks/plan", {})):
            refused = await browser.post(path, fields, script=True)
            assert "SEGOPS_APPROVAL=other requires a login" in refused.json["error"]
        assert topics.entries == []

    serve(steps, board=topics.board)


def test_name_that_no_person_can_have_does_nothing(topics: MemoryTopics) -> None:
    async def steps(browser: Browser) -> None:
        for name in ("ai:drafter", "Ann Example"):
            refused = await post_as(browser, "/audiences", FIELDS, "admin", name)
            assert "is no name of a person who acts" in refused.json["error"]
        assert topics.entries == []

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
