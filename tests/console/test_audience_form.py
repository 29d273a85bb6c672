"""The form of an audience: what it makes of its fields, its mistakes, and stale edits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from segops import config
from segops.console.pages._audience_form import AudienceForm, fields_of
from segops.operations.audiences.actions import edition

from .activation_board import WINBACK, audience, full
from .activation_fakes import patch
from .activation_store import MemoryTopics
from .helpers import Browser, serve

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
