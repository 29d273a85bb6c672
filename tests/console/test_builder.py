"""The builder's pages and actions, against a board and workers in memory."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segops import config
from segops.console.assets import FOLDER
from segops.console.drafts import estimating, publishing
from segops.console.drafts.checking import fingerprint
from segops.console.page import Context, Role, User
from segops.console.pages import builder
from segops.core.errors import SegopsError, UserError
from segops.core.scans import Limits
from segops.operations.measuring import Measured
from segops.operations.plans import TooMuch, UnknownEffect
from segops.schemas.scans import ScanTimeout
from tests.console.drafting import CATALOGUE, Board, answer, field_of
from tests.console.helpers import Browser, MemoryAudit, entries_of, serve
from tests.core.helpers import MONDAY

DRAFT = "key: draft\nname: Draft\nwhen: {all: [{in_segment: vip}, {did: Order}]}"


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    """Return a board, with workers that answer by its definitions and publish to it."""
    found = Board()

    async def scan(_settings: Any, question: Any, *, wait_s: float) -> Any:
        return answer(question, found.definitions)

    async def publish(_settings: Any, edit: publishing.Edit, *, limited: bool, wait_s: float) -> Any:
        return publishing.decide(edit, found.log())

    async def read(_settings: Any, *, on_bad: Callable[[str], None]) -> Any:
        return found.log()

    monkeypatch.setattr(estimating, "patient_scan", scan)
    monkeypatch.setattr(publishing, "publish", publish)
    monkeypatch.setattr(builder, "read", read)
    return found


def visit(board: Any, path: str) -> Any:
    """Return what a page answers."""
    found: list[Any] = []

    async def steps(browser: Browser) -> None:
        found.append(await browser.get(path))

    serve(steps, board=board)
    return found[0]


def post(board: Any, path: str, audit: MemoryAudit | None = None, **fields: Any) -> Any:
    """Return what an action answers to a script."""
    found: list[Any] = []

    async def steps(browser: Browser) -> None:
        found.append(await browser.post(path, fields, script=True))

    serve(steps, board=board, audit=audit)
    return found[0]


def context(board: Board, role: Role = Role.ADMIN) -> Context[Any]:
    return Context(config.load(), board, User("ann", role, "password"), MONDAY)


# -- pages -------------------------------------------------------------------------------------------------


def test_a_segment_opens_as_it_is_published(board: Board) -> None:
    found = visit(board, "/builder/buyers.json").json
    assert found["definition"]["segments"][0]["membership"] == {"min_stay": "1d"}
    assert json.loads(found["json"]) == found["definition"]
    assert (found["version"], found["title"], found["key"]) == (1, "Buyers", "buyers")
    assert found["seen"] == fingerprint(board.definitions["buyers"])
    events = {each["name"]: each for each in found["catalogue"]["events"]}
    assert events["Order"]["properties"][1]["values"] == [["EUR", 9], ["USD", 1]]
    assert {each["key"]: each["members"] for each in found["catalogue"]["segments"]}["vip"] == 12_345
    page = visit(board, "/builder/buyers")
    assert (
        page.status == 200
        and "Bought twice or more." in page.text
        and "segops apply buyers.yaml" in page.text
    )


def test_a_new_segment_begins_plain_of_a_template_or_of_a_text(board: Board) -> None:
    plain = visit(board, "/builder.json").json
    assert (plain["key"], plain["version"], plain["seen"]) == (None, 0, "")
    template = visit(board, "/builder.json?template=dormant&days=7").json
    assert template["definition"]["segments"][0]["when"] == {"score": "recency_days", "is": {"gte": 7}}
    text = visit(board, "/builder.json?text=did:%20Signed%20Up").json
    assert text["definition"]["segments"][0]["when"] == {"did": "Signed Up"}


@pytest.mark.parametrize(
    "path",
    ["/builder/nowhere", "/builder/nowhere.json", "/builder?template=nothing", "/builder/vip/rollout/x.json"],
)
def test_what_does_not_exist_is_said(board: Board, path: str) -> None:
    found = visit(board, path)
    assert found.status == 404 and (
        "nowhere" in found.text or "nothing" in found.text or "version" in found.text
    )


def test_the_page_holds_no_script_and_no_style_of_its_own(board: Board) -> None:
    text = visit(board, "/builder/vip").text
    assert re.findall(r"<script(?![^>]*\bsrc=)", text) == [] == re.findall(r"\sstyle=|\son\w+=", text)


HOSTILE = "\"><script>alert(1)</script>\u202e'{{7*7}}" + "x" * 2_000


def test_hostile_names_are_text(board: Board) -> None:
    board.catalogue = [
        *CATALOGUE,
        CATALOGUE[0].__class__(
            HOSTILE, ["-"], 1, 1, 1, None, None, {}, [field_of(HOSTILE, "string", values={HOSTILE: 2})], 0
        ),
    ]
    rule = {"did": HOSTILE, "where": {"p": {"eq": HOSTILE}}}
    text = json.dumps({"key": "evil", "name": HOSTILE[:200], "when": rule})
    form = builder.DraftForm(text=text, as_json=True)
    (evil,) = [builder._checked(context(board), form)[1]]
    board.definitions["evil"] = evil
    page = visit(board, "/builder/evil")
    assert page.status == 200 and "<script>alert" not in page.text
    assert "{{7*7}}" in page.text.partition("</title>")[0]  # text, not a template
    assert visit(board, "/builder/evil.json").json["definition"]["segments"][0]["when"] == rule


def test_a_rollout_says_in_how_many_partitions_a_version_is_in_force(board: Board) -> None:
    found = visit(board, "/builder/vip/rollout/1.json").json
    assert (found["complete"], found["in_force"], found["partitions"]) == (True, 2, 2)
    found = visit(board, "/builder/vip/rollout/2.json").json
    assert (found["complete"], found["in_force"], found["partitions"]) == (False, 1, 2)


# -- checks and estimates ----------------------------------------------------------------------------------


def test_a_check_says_what_is_wrong_and_writes_no_audit(board: Board) -> None:
    audit = MemoryAudit()
    found = post(board, "/builder/check.json", audit, text="did: A\nwithin: 0d").json["data"]
    assert found["errors"][0]["at"] == ["segments", 0, "when", "within"]
    found = post(board, "/builder/check.json", audit, text=json.dumps({"did": "A"}), as_json=True).json[
        "data"
    ]
    assert found["sentence"] == "Customers who did A." and audit.entries == []


def test_a_draft_that_is_too_long_is_refused(board: Board) -> None:
    assert post(board, "/builder/check.json", text="x" * (builder.MAX_TEXT + 1)).status == 422

    async def steps(browser: Browser) -> None:
        too_long = await browser.post("/builder/check.json", {"text": "x" * (4 << 10)}, script=True)
        assert too_long.status == 413

    serve(steps, board=board, body_bytes=4 << 10)


def test_an_estimate_is_of_a_sample_of_a_large_population(board: Board) -> None:
    board.sizes.known = 25_000
    found = post(board, "/builder/estimate.json", text=DRAFT).json["data"]
    assert found["sample"] == estimating.SAMPLE / 25_000 == 0.16 and found["counted"] is None
    text = "key: draft\nwhen: {in_segment: vip}"
    exact = post(board, "/builder/estimate.json", text=text, exact=True).json["data"]
    assert (exact["sample"], exact["profiles"]["estimate"]) == (1, 40)


def test_an_exact_count_counts_past_events_where_profiles_lack_them(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []

    async def measure(_settings: Any, definitions: Any, wait: Any) -> Measured:
        measured.extend(each.key for each in definitions)
        return Measured(40, {definitions[0].key: 17}, {}, {}, 0)

    monkeypatch.setattr(builder, "measure", measure)
    text = "key: draft\nwhen: {did: Never Read Before}"
    found = post(board, "/builder/estimate.json", text=text, exact=True).json["data"]
    assert found["incomplete"] and found["counted"]["members"] == 17 and measured == ["template-draft"]
    assert post(board, "/builder/estimate.json", text=text).json["data"]["counted"] is None
    assert len(measured) == 1


def test_a_count_of_past_events_that_takes_longer_is_said(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def measure(*_: Any) -> Measured:
        raise ScanTimeout("3 of 9 past records were read")

    monkeypatch.setattr(builder, "measure", measure)
    text = "key: draft\nwhen: {did: Never Read Before}"
    found = post(board, "/builder/estimate.json", text=text, exact=True).json["data"]
    assert found["counted"] == {"members": None, "reason": "3 of 9 past records were read"}


@pytest.mark.parametrize(
    "error", [ScanTimeout("1 of 4 partitions answered"), SegopsError("away"), UserError("x")]
)
def test_workers_that_do_not_answer_are_said(
    board: Board, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def scan(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(estimating, "patient_scan", scan)
    found = post(board, "/builder/estimate.json", text=DRAFT)
    assert found.status == 422 and str(error) in found.json["error"]


def test_viewers_get_sizes_without_persons(board: Board) -> None:
    form = builder.EstimateForm(text="key: draft\nwhen: {trait: email, is: {contains: '@'}}")
    for role, seen in ((Role.VIEWER, False), (Role.EDITOR, True)):
        done = asyncio.run(builder._estimate(context(board, role), form))
        text = json.dumps(done.data)
        assert ("shop.example" in text) is seen and ("user_id:" in text) is seen


def test_a_template_is_filled_with_values(board: Board) -> None:
    found = post(board, "/builder/template.json", template="dormant", values={"days": "9"}).json["data"]
    assert found["definition"]["segments"][0]["when"]["is"] == {"gte": 9}
    assert post(board, "/builder/template.json", template="dormant", values={"days": "x"}).status == 422


# -- publication -------------------------------------------------------------------------------------------


def test_publication_is_audited_and_says_what_it_did(board: Board) -> None:
    audit = MemoryAudit()
    found = post(board, "/builder/publish", audit, text=DRAFT).json
    assert found["location"] == "/segments/draft" and found["message"] == "Draft: published, version 1"
    assert found["data"]["versions"] == {"draft": 1} and len(found["data"]["seen"]) == 16
    assert [entry.result for entry in entries_of(audit, "segment.publish")] == ["begun", "done"]
    assert entries_of(audit, "segment.publish")[0].data["text"] == DRAFT


def test_what_is_published_can_be_edited_on(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = fingerprint(board.definitions["vip"])
    found = post(board, "/builder/publish", text="key: vip\nwhen: {did: Order}", seen=seen).json
    assert found["data"]["version"] == 2
    record = publishing.decide(
        publishing.Edit(
            builder._checked(context(board), builder.DraftForm(text="key: vip\nwhen: {did: Order}"))[0], seen
        ),
        board.log(),
    )[0].record
    assert record is not None and found["data"]["seen"] == publishing.fingerprint_of(record)


def test_a_stale_edit_is_refused_with_both_sides(board: Board) -> None:
    audit = MemoryAudit()
    found = post(board, "/builder/publish", audit, text="key: vip\nwhen: {did: Order}", seen="0" * 16)
    data = found.json["data"]
    assert (found.status, data["reason"], data["version"]) == (409, "stale", 1)
    assert "sum: total" in data["published"] and "did: Order" in data["draft"]
    assert {"kind": "added", "text": "      did: Order"} in data["difference"]
    assert json.loads(data["published_json"])["segments"][0]["key"] == "vip"
    assert entries_of(audit, "segment.publish")[-1].result.startswith("refused: another person published")


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> list[bool]:
    """Let publication fail while it is limited; return whether each call was."""
    calls: list[bool] = []

    async def publish(_settings: Any, _edit: Any, *, limited: bool, wait_s: float) -> Any:
        calls.append(limited)
        if limited:
            raise error
        return publishing.decide(_edit, Board().log())

    monkeypatch.setattr(publishing, "publish", publish)
    return calls


def test_what_moves_many_members_is_published_when_it_is_confirmed(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = failing(monkeypatch, TooMuch({"draft": "20,000 enter"}, Limits()))
    found = post(board, "/builder/publish", text=DRAFT)
    assert (found.status, found.json["data"]["reason"]) == (409, "limits")
    assert found.json["data"]["segments"] == {"draft": "20,000 enter"} and "--yes" not in found.json["error"]
    assert post(board, "/builder/publish", text=DRAFT, confirmed=True).status == 200
    assert calls == [True, False]


def test_an_effect_that_no_worker_can_foresee_takes_a_confirmation(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = UserError("nothing was published: no worker runs; --yes publishes")
    error.__cause__ = UnknownEffect("no worker is running")
    failing(monkeypatch, error)
    found = post(board, "/builder/publish", text=DRAFT)
    assert (found.status, found.json["data"]["reason"]) == (409, "unknown")
    assert "no worker is running" in found.json["error"] and "--yes" not in found.json["error"]


def test_a_draft_with_mistakes_is_refused_by_name(board: Board) -> None:
    found = post(board, "/builder/publish", text="key: new\nwhen: {did: A, within: 0d}")
    assert found.status == 422 and "segments[0].when.within" in found.json["error"]


def test_publication_works_without_a_script(board: Board) -> None:
    async def steps(browser: Browser) -> None:
        done = await browser.post("/builder/publish", {"text": DRAFT, "seen": "", "key": ""})
        assert (done.status, done.headers["Location"]) == (303, "/segments/draft")
        refused = await browser.post("/builder/publish", {"text": "did: ''"}, Referer="/builder")
        assert refused.status == 422 and "expected an event name" in refused.text

    serve(steps, board=board)


def test_only_editors_publish() -> None:
    roles = {action.path: (action.role, action.changes) for action in builder.ACTIONS}
    assert roles == {
        "/builder/check.json": (Role.VIEWER, False),
        "/builder/estimate.json": (Role.VIEWER, False),
        "/builder/template.json": (Role.VIEWER, False),
        "/builder/publish": (Role.EDITOR, True),
    }


# -- modules -----------------------------------------------------------------------------------------------

SCRIPTS = sorted((FOLDER / "js" / "builder").glob("*.js"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_modules_are_short_and_make_no_markup_of_data(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.count("\n") <= 400
    for sink in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "DOMParser",
    ):
        assert sink not in text
    assert re.findall(r"""(?:import|from)\s+["'](?!\.{1,2}/)""", text) == []
