"""The builder in a browser: rules are built by keyboard, counted, published, and refused when stale."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from segops.catalogue.views import EventView
from segops.console.drafts import estimating
from segops.schemas.scans import ScanTimeout
from tests.console.browser.chromium import BuilderPage, chromium, console, in_memory, needs_chromium
from tests.console.drafting import Board, field_of
from tests.console.helpers import MemoryAudit

pytestmark = [pytest.mark.browser, needs_chromium]

WHEN = '["segments",0,"when"'
HOSTILE = "\"><img src=x onerror=alert(1)><script>alert(2)</script>\u202e'"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


class Flow:
    """A browser on a console, the board behind it, and what it asks of the workers."""

    def __init__(
        self, browser: Browser, address: str, board: Board, audit: MemoryAudit, asked: list[Any]
    ) -> None:
        self.browser, self.address, self.board, self.audit, self.asked = browser, address, board, audit, asked
        self.opened: list[BuilderPage] = []

    def visit(self, path: str = "/builder", **options: Any) -> BuilderPage:
        """Open the builder as another person."""
        page = self.browser.new_context(**options).new_page()
        self.opened.append(BuilderPage(page, self.address).open(path))
        return self.opened[-1]


@pytest.fixture
def flow(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flow]:
    board = Board()
    asked = in_memory(monkeypatch, board)
    with console(board) as (address, audit):
        found = Flow(browser, address, board, audit, asked)
        yield found
        for each in found.opened:
            each.page.context.close()
            assert each.problems == []


def rule(opened: BuilderPage) -> Any:
    return json.loads(opened.document())["segments"][0]["when"]


def focused(opened: BuilderPage) -> str:
    """Return the name of the control that has the focus."""
    opened.settled()
    return str(opened.page.evaluate("() => document.activeElement.getAttribute('data-control') ?? ''"))


def test_a_rule_is_built_by_keyboard_alone(flow: Flow) -> None:
    opened = flow.visit()
    keys = opened.page.keyboard
    opened.control(f'{WHEN},"all",0,"did"]').focus()
    keys.type("Order")
    opened.control(f"{WHEN}]add").focus()
    keys.press("Enter")
    assert focused(opened) == f'{WHEN},"all",1]head'
    keys.type("Trait")  # a select goes to the option that begins so
    keys.press("Tab")
    assert focused(opened) == f'{WHEN},"all",1,"trait"]'
    keys.type("country")
    assert focused(opened) == f'{WHEN},"all",1,"trait"]'
    opened.control(f'{WHEN},"all",1]up').focus()
    keys.press("Enter")
    assert focused(opened) == f'{WHEN},"all",0]up'
    assert rule(opened) == {
        "all": [{"trait": "country", "is": {"exists": True}}, {"did": "Order", "within": "30d"}]
    }
    keys.press("Control+z")
    opened.settled()
    assert [*rule(opened)["all"][0]] == ["did", "within"]
    keys.press("Control+Shift+z")
    opened.settled()
    assert [*rule(opened)["all"][0]] == ["trait", "is"]
    opened.control(f'{WHEN},"all",0]remove').focus()
    keys.press("Enter")
    assert focused(opened) == f'{WHEN},"all",0]head'
    assert rule(opened) == {"all": [{"did": "Order", "within": "30d"}]}


def test_every_control_can_be_reached_and_has_a_name(flow: Flow) -> None:
    rich = {
        "all": [
            {"sequence": [{"did": "A"}, {"did_not": "B", "within": "1h"}]},
            {"rfm": ["champions"]},
            {"near": {"lat": 1, "lon": 2, "radius": "5km"}},
            {"did": "Order", "where": {"total": {"gte": 3}}, "time_of_day": {"days": ["sat"]}},
            {"compare": [{"did": "A", "within": "1d"}, "gt", {"trait": "p"}]},
            {"sum": "total", "of": "Order", "is": {"gte": 5}, "between": {"from": "9d", "to": "2d"}},
        ]
    }
    opened = flow.visit(f"/builder?text={json.dumps(rich)}")
    found = opened.run("""
      const kinds = "button, select, input, textarea, [role=slider], [role=button], summary";
      const controls = [...b.root.querySelectorAll(kinds)];
      const around = (each) => each.closest("label")?.textContent;
      const name = (each) => each.getAttribute("aria-label") || each.textContent.trim() || around(each);
      return {
        unreachable: controls.filter((each) => each.tabIndex < 0).map((each) => each.outerHTML),
        nameless: controls.filter((each) => !name(each)).map((each) => each.outerHTML),
        twice: [...b.root.querySelectorAll("[data-control]")].map((each) => each.getAttribute("data-control"))
          .filter((each, n, all) => all.indexOf(each) !== n),
        cells: b.root.querySelectorAll("[role=gridcell][tabindex='0']").length,
      };
    """)
    assert found == {"unreachable": [], "nameless": [], "twice": [], "cells": 1}


def test_a_change_is_counted_once_and_shown_at_its_node(flow: Flow) -> None:
    opened = flow.visit(
        "/builder?text=key: s%0Awhen: {all: [{in_segment: vip}, {trait: country, is: {eq: XX}}]}"
    )
    expect(opened.page.locator('[data-part="estimate"]')).to_contain_text("0 of 40 profiles")
    before = len(flow.asked)
    field = opened.control(f'{WHEN},"all",1,"is","eq"]')
    field.fill("")
    field.press_sequentially("DE", delay=5)
    expect(opened.page.locator('[data-part="estimate"]')).not_to_contain_text("0 of 40 profiles (0.0 %)")
    assert len(flow.asked) == before + 1
    expect(opened.page.locator(f"[data-count='{WHEN},\"all\",1]']")).to_have_text("14")
    samples = opened.page.locator('[data-part="samples"]')
    expect(samples).to_contain_text("one condition decides")
    samples.locator("summary").first.click()
    expect(samples.locator(".trace").first).to_contain_text("in segment vip")


def test_a_size_that_busy_workers_did_not_count_is_counted_again(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def late(*_args: Any, **_options: Any) -> Any:
        raise ScanTimeout("0 of 2 partitions answered within 5 s")

    with monkeypatch.context() as patch:
        patch.setattr(estimating, "patient_scan", late)
        opened = flow.visit("/builder?text=key: s%0Awhen: {did: Order}")
        size = opened.page.locator('[data-part="estimate"]')
        expect(size).to_contain_text("no estimate: 0 of 2 partitions answered within 5 s")
    opened.page.get_by_role("button", name="Count again").click()
    expect(size).to_contain_text("of 40 profiles")


def test_mistakes_stand_at_their_rows_and_are_announced(flow: Flow) -> None:
    opened = flow.visit("/builder?text=key: s%0Awhen: {all: [{did: Order, within: 2d}]}")
    field = opened.control(f'{WHEN},"all",0,"within"]')
    field.fill("0")
    expect(field).to_have_attribute("aria-invalid", "true")
    row = opened.page.locator(f'[data-marks=\'{WHEN},"all",0,"within"]\']')
    expect(row).to_have_text("expected a duration above 0, got '0d'")
    expect(opened.page.locator("[data-announce]")).to_contain_text("1 mistakes: expected a duration above 0")
    opened.page.locator(".mistake-link").click()
    assert focused(opened) == f'{WHEN},"all",0,"within"]'
    field.fill("3")
    expect(row).to_be_empty()
    assert rule(opened) == {"all": [{"did": "Order", "within": "3d"}]}


def test_a_click_counts_although_the_field_before_it_changes_the_page(flow: Flow) -> None:
    opened = flow.visit()
    opened.control(f'{WHEN},"all",0,"did"]').fill("Order")
    opened.page.get_by_label("Add a condition to this group").click()
    opened.settled()
    assert [each["did"] for each in rule(opened)["all"]] == ["Order", ""]


def test_yaml_is_used_once_it_is_valid(flow: Flow) -> None:
    opened = flow.visit()
    area = opened.page.get_by_label("Segment as YAML").last
    area.fill("key: typed\nwhen: {did: Order, count: {gte: 2}")
    expect(opened.page.locator("#yaml-message")).to_contain_text("line")
    assert rule(opened) == {"all": [{"did": "", "within": "30d"}]}
    area.fill("key: typed\nwhen: {did: Order, count: {gte: 2}}")
    expect(opened.control(f'{WHEN},"did"]')).to_have_value("Order")
    assert rule(opened) == {"did": "Order", "count": {"gte": 2}}
    assert focused(opened) == "yaml"


def test_a_draft_outlives_a_reload(flow: Flow) -> None:
    opened = flow.visit("/builder/german")
    opened.control(f'{WHEN},"is","eq"]').fill("FR")
    opened.page.wait_for_function("() => location.hash.startsWith('#draft=')")
    former = opened.page.evaluate("() => location.hash")
    opened.control(f'{WHEN},"is","eq"]').fill("FRA")
    opened.page.wait_for_function("(former) => location.hash !== former", arg=former)
    opened.page.reload()
    opened.page.wait_for_selector("[data-builder][data-ready]")
    assert rule(opened)["is"] == {"eq": "FRA"}
    opened.page.locator('[data-part="undo"]').click()
    opened.settled()
    assert rule(opened)["is"] == {"eq": "DE"}


def test_a_broken_address_begins_with_the_segment(flow: Flow) -> None:
    for fragment in ("#draft=%%%", "#draft=AAAA", "#other"):
        assert rule(flow.visit(f"/builder/german{fragment}"))["is"] == {"eq": "DE"}


def test_a_segment_is_published_and_comes_into_force(flow: Flow) -> None:
    opened = flow.visit("/builder?text=key: vip%0Aname: Best%0Awhen: {did: Order}")
    opened.run("b.seen = value;", opened.run("return 'stale';"))
    opened.page.locator('[data-part="publish"]').click()
    expect(opened.page.locator('[data-part="published"]')).to_contain_text("another person published 'vip'")
    expect(opened.page.locator(".diff-removed").first).to_contain_text("name: VIP customers")
    opened.page.get_by_role("button", name="Keep my draft").click()
    opened.page.locator('[data-part="publish"]').click()
    expect(opened.page.locator('[data-part="published"]')).to_contain_text("In force in all 2 partitions")
    assert flow.board.definitions["vip"].version == 2
    results = [entry.result for entry in flow.audit.entries if entry.action == "segment.publish"]
    assert results[-1] == "done" and results[1].startswith("refused: another person")


def test_two_people_at_once_lose_nothing(flow: Flow) -> None:
    ann, ben = flow.visit("/builder/german"), flow.visit("/builder/german")
    for each, country in ((ann, "AT"), (ben, "CH")):
        each.control(f'{WHEN},"is","eq"]').fill(country)
    ann.page.locator('[data-part="publish"]').click()
    expect(ann.page.locator('[data-part="published"]')).to_contain_text("published, version 2")
    ben.page.locator('[data-part="publish"]').click()
    expect(ben.page.locator('[data-part="published"]')).to_contain_text("is now at version 2")
    expect(ben.page.locator(".diff-removed")).to_contain_text("AT")
    expect(ben.page.locator(".diff-added")).to_contain_text("CH")
    ben.page.get_by_role("button", name="Take theirs").click()
    ben.settled()
    assert rule(ben)["is"] == {"eq": "AT"}
    ben.page.locator('[data-part="undo"]').click()
    ben.settled()
    assert rule(ben)["is"] == {"eq": "CH"}
    assert flow.board.definitions["german"].written == {"trait": "country", "is": {"eq": "AT"}}


def test_rfm_cells_are_painted_by_keys_and_by_pointer(flow: Flow) -> None:
    opened = flow.visit("/builder?text={rfm: [champions]}")
    first = opened.page.get_by_role("gridcell", name="recency 5, frequency 1")
    first.focus()
    opened.page.keyboard.press("ArrowDown")
    opened.page.keyboard.press(" ")
    opened.settled()
    assert rule(opened) == {"rfm": ["promising", "champions"]}
    assert "cell4,1" in focused(opened)
    opened.page.get_by_role("gridcell", name="recency 1, frequency 1").scroll_into_view_if_needed()
    start = opened.page.get_by_role("gridcell", name="recency 1, frequency 1").bounding_box()
    end = opened.page.get_by_role("gridcell", name="recency 2, frequency 1").bounding_box()
    assert start is not None and end is not None
    opened.page.mouse.move(start["x"] + 5, start["y"] + 5)
    opened.page.mouse.down()
    opened.page.mouse.move(end["x"] + 5, end["y"] + 5, steps=4)
    opened.page.mouse.up()
    opened.settled()
    painted = rule(opened)
    assert "any" in painted  # neither tiers nor one rectangle of digits select these cells
    chosen = opened.run("""
      const { selected, gridOf } = await module("cells.js");
      const grid = gridOf(undefined, b.editing.language.tiers);
      const when = b.editing.segment.when;
      return when.any.flatMap((each) => [...selected(each.rfm, grid)]).sort();
    """)
    assert chosen == ["1,1", "2,1", "4,1", "5,4", "5,5"]


def test_painted_cells_and_their_rules_are_the_same_for_every_rectangle_and_tier(flow: Flow) -> None:
    opened = flow.visit()
    assert (
        opened.run("""
      const { selected, nodeOf, gridOf, cellsOf } = await module("cells.js");
      const grid = gridOf(undefined, b.editing.language.tiers);
      const all = cellsOf(grid).map(String);
      const wrong = [];
      for (let mask = 1; mask < 1 << 25; mask += 40_013) {
        const cells = new Set(all.filter((_, bit) => (mask >> bit) & 1));
        const node = nodeOf(cells, grid);
        const found = (node.any ?? [node]).flatMap((each) => [...selected(each.rfm, grid)]);
        if (found.length !== cells.size || !found.every((each) => cells.has(each))) wrong.push([...cells]);
      }
      return wrong;
    """)
        == []
    )


def test_a_threshold_is_moved_on_the_histogram_by_keys(flow: Flow) -> None:
    opened = flow.visit("/builder?text={all: [{sum: total, of: Order, is: {gte: 60}}]}")
    slider = opened.page.get_by_role("slider", name="threshold")
    slider.focus()
    opened.page.keyboard.press("End")
    opened.settled()
    most = rule(opened)["all"][0]["is"]["gte"]
    assert most > 60
    expect(opened.page.get_by_role("slider", name="threshold")).to_be_focused()
    opened.page.keyboard.press("Home")
    opened.settled()
    assert rule(opened)["all"][0]["is"]["gte"] == 0


def test_a_circle_is_moved_and_resized_on_the_map_by_keys(flow: Flow) -> None:
    opened = flow.visit("/builder?text={near: {lat: 48.8566, lon: 2.3522, radius: 5km}}")
    opened.page.get_by_role("button", name="Centre at").focus()
    opened.page.keyboard.press("ArrowUp")
    opened.settled()
    moved = rule(opened)["near"]
    assert 48.8566 < moved["lat"] < 48.87 and abs(moved["lon"] - 2.3522) < 0.001
    opened.page.get_by_role("button", name="Radius 5km").focus()
    opened.page.keyboard.press("ArrowRight")
    opened.settled()
    assert 5 < float(rule(opened)["near"]["radius"].removesuffix("km")) < 7


def test_a_template_fills_the_form(flow: Flow) -> None:
    opened = flow.visit()
    opened.page.get_by_label("Start from a template").select_option("dormant")
    opened.page.get_by_label("days without any event").fill("45")
    opened.page.get_by_role("button", name="Use this template").click()
    expect(opened.control(f'{WHEN},"is","gte"]')).to_have_value("45")


def test_a_hostile_catalogue_is_text(flow: Flow) -> None:
    hostile = field_of(HOSTILE, "string", values={HOSTILE: 3})
    flow.board.catalogue = [EventView(HOSTILE, ["-"], 9, 9, 9, None, None, {}, [hostile], 0)]
    rule_of = {"did": HOSTILE, "where": {HOSTILE: {"eq": HOSTILE}}}
    text = json.dumps({"key": "evil", "name": HOSTILE, "when": {"all": [rule_of, {"in_segment": "vip"}]}})
    opened = flow.visit()
    opened.page.get_by_label("Segment as YAML").last.fill(text)
    expect(opened.control(f'{WHEN},"all",0,"did"]')).to_have_value(HOSTILE)
    expect(opened.page.locator('[data-part="estimate"]')).to_contain_text("of 40 profiles")
    assert opened.page.locator("main img, main script").count() == 0
    assert rule(opened)["all"][0] == rule_of


def test_everything_fits_on_a_telephone(flow: Flow) -> None:
    steps, circle = "[{did: A}, {did: B, within: 1h}]", "{lat: 1, lon: 2, radius: 5km}"
    rich = f"{{all: [{{sequence: {steps}}}, {{rfm: [champions]}}, {{near: {circle}}}]}}"
    opened = flow.visit(f"/builder?text={rich}", viewport={"width": 375, "height": 812})
    assert opened.page.evaluate("() => document.documentElement.scrollWidth") <= 375


def test_grids_with_boxes_presets_and_names_are_painted_only_where_cells_say_all(flow: Flow) -> None:
    opened = flow.visit()
    found = opened.run("""
      const { selected, gridOf } = await module("cells.js");
      const cells = (value, block) => {
        const set = selected(value, gridOf(block, b.editing.language.tiers));
        return set && [...set].sort();
      };
      const close = [{ recency: [5, 5], frequency: [5, 5] }, { recency: [1, 1], frequency: [1, 2] }];
      const tiers = { tiers: { close, rest: { recency: [1, 5], frequency: [1, 5] } } };
      const deep = { tiers: { a: { recency: [1, 5], frequency: [1, 5], monetary: [1, 2] } } };
      return {
        boxes: cells(["close"], tiers),
        terciles: cells({ recency: 3 }, { recency: "terciles", frequency: [1, 5] }),
        named: cells({ grid: "opens", tier: "loyal" }, undefined),
        deep: cells(["a"], deep),
        preset: [cells(["champions"], { preset: "klaviyo" }), cells({ recency: 3 }, { preset: "klaviyo" })],
        usual: cells(["champions"], { preset: "five_by_five" }),
      };
    """)
    assert found == {
        "boxes": ["1,1", "1,2", "5,5"],
        "terciles": ["3,1", "3,2", "3,3"],
        "named": None,
        "deep": None,
        "preset": [None, ["3,1", "3,2", "3,3"]],
        "usual": ["5,4", "5,5"],
    }
