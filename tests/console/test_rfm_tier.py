"""Painting a tier on the grid of RFM: its boxes, the block, the page, and the draft that it opens."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from segops.console.drafts import checking
from segops.console.pages import rfm as rfm_page
from segops.console.people import rfm as reading
from segops.console.people.rfm import RfmInForce, rfm_in_force
from segops.console.people.tiers import Cell, boxes_of, changes_of, painted, tiers_of
from segops.core.rules.parsing import Context, read_grids, read_rfm
from segops.core.scoring.rfm import Rfm
from segops.schemas.segments import inline
from tests.console.helpers import Browser
from tests.console.people import EDITOR, EVIL, NOON, VIEWER, FakeBoard, with_people

IN_FORCE = RfmInForce(Rfm(), None, 0)
CELLS = [(recency, frequency) for recency in range(1, 6) for frequency in range(1, 6)]
paintings = st.sets(st.sampled_from(CELLS), min_size=1)


def inside(box: dict[str, list[int]], cell: Cell) -> bool:
    pairs = zip((box["recency"], box["frequency"]), cell, strict=True)
    return all(low <= digit <= high for (low, high), digit in pairs)


@settings(max_examples=60)
@given(paintings)
def test_boxes_cover_each_painted_cell_once_and_no_other(cells: set[Cell]) -> None:
    boxes = boxes_of(cells)
    assert {cell: sum(inside(box, cell) for box in boxes) for cell in CELLS} == {
        cell: int(cell in cells) for cell in CELLS
    }


@settings(max_examples=60)
@given(paintings, st.sampled_from(["close", "champions", "loyal"]))
def test_a_painted_tier_has_its_cells_and_the_others_keep_the_rest(cells: set[Cell], name: str) -> None:
    after = read_rfm(painted(IN_FORCE, name, cells), "rfm", Context())
    former, found = tiers_of(Rfm()), tiers_of(after)
    for cell in CELLS:
        expected = None if former[cell] == name else former[cell]
        assert found[cell] == (name if cell in cells else expected)
    assert after.dead_tiers() == []
    kept = {former[cell] for cell in CELLS if cell not in cells}
    assert changes_of(Rfm(), after)["lost"] == [
        each for each in Rfm().tier_names if each not in {*kept, name}
    ]


def test_a_named_grid_is_edited_within_the_block() -> None:
    block = {"currency": "EUR", "opens": {"of": "Opened", "frequency": [1, 5], "recency": "terciles"}}
    rule = {"rfm": {"grid": "opens", "tier": "need_attention"}}
    definitions = {
        each.key: each for each in inline([{"key": "a", "when": rule}], "t", "segments", rfm=block)
    }
    found = rfm_in_force(definitions, "opens")
    assert (found.grid, found.grids, found.rfm.greatest("frequency")) == ("opens", ("opens",), 3)
    assert rfm_in_force(definitions).grid == rfm_in_force(definitions, "none").grid == ""
    after = painted(found, "close", [(3, 3)])
    assert after["currency"] == "EUR" and after["opens"]["of"] == "Opened"
    grid = read_grids(after, "rfm", Context())["opens"]
    assert tiers_of(grid)[3, 3] == "close" and len(boxes_of([(3, 3)])) == 1


def test_the_order_of_tiers_in_a_published_block_is_kept() -> None:
    tiers = {"second": {"recency": [1, 5], "frequency": [1, 5]}}
    block = {"tiers": {"z": {"recency": [5, 5], "frequency": [5, 5]}, **tiers}}
    definitions = {
        each.key: each for each in inline([{"key": "a", "when": {"rfm": "z"}}], "t", "s", rfm=block)
    }
    assert tiers_of(rfm_in_force(definitions).rfm)[5, 5] == "z"
    assert rfm_in_force(definitions).rfm.tier_names == ["z", "second"]


async def _grid(*_args: object) -> reading.Grid:
    cells = {(r, d): r * d for r in range(1, 6) for d in range(1, 6)}
    return reading.Grid(NOON, NOON, 1.0, 300, cells, cells, dict.fromkeys(Rfm().tier_names, 9), [])


def address(cells: Collection[Cell], name: str, path: str = "/rfm/tier.json", **more: str) -> str:
    return f"{path}?" + "&".join(
        [f"name={name}", *(f"c{r}-{f}=on" for r, f in cells), *(f"{k}={v}" for k, v in more.items())]
    )


@pytest.fixture
def _counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rfm_page, "read_grid", _grid)


@pytest.mark.usefixtures("_counted")
def test_the_draft_opens_in_the_builder_and_names_who_keeps_the_former_grid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def steps(browser: Browser) -> None:
        found = (await browser.get(address([(5, 5), (5, 4), (4, 4)], "Keep_Close"), **EDITOR)).json
        assert (found["name"], found["people"]["estimate"], found["people"]["of"]) == ("keep_close", 61, 225)
        assert found["lost"] == ["champions"] and found["holes"] == []
        text = parse_qs(urlsplit(found["builder"]).query)["text"][0]
        checked = checking.check(text, {}, json=False)
        assert (checked.errors, checked.warnings) == ([], [])
        assert checked.definition is not None and checked.definition.key == "rfm-keep-close"
        file = yaml.safe_load(found["file"])
        assert next(iter(file["rfm"]["tiers"])) == "keep_close"
        page = await browser.get(address([(5, 5)], "vip", "/rfm/tier"), **EDITOR)
        assert "Open in the builder" in page.text and "Nothing is published yet" in page.text

    with_people(steps, monkeypatch)


@pytest.mark.usefixtures("_counted")
def test_readers_of_the_block_are_in_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    block: dict[str, Any] = {"currency": "EUR"}
    written = [
        {"key": "loyal", "name": "Loyal <b>", "when": {"rfm": "loyal"}},
        {"key": "other", "when": {"did": "A"}},
    ]
    definitions = {each.key: each for each in inline(written, "test", "segments", rfm=block)}

    async def steps(browser: Browser) -> None:
        found = (await browser.get(address([(1, 1)], "gone"), **EDITOR)).json
        assert found["readers"] == [{"key": "loyal", "name": "Loyal <b>"}]
        file = yaml.safe_load(found["file"])
        assert file["rfm"]["currency"] == "EUR"
        assert [each["key"] for each in file["segments"]] == ["rfm-gone", "loyal"]
        assert checking.check(found["file"], {}, json=False).errors == []
        assert "Loyal &lt;b&gt;" in (await browser.get(address([(1, 1)], "gone", "/rfm/tier"), **EDITOR)).text

    with_people(steps, monkeypatch, board=FakeBoard(definitions=definitions))


@pytest.mark.usefixtures("_counted")
def test_what_is_no_tier_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(browser: Browser) -> None:
        nothing = (await browser.get(address([], "vip"), **EDITOR)).json
        assert nothing["wrong"] == "Choose at least one cell." and nothing["builder"] == ""
        for name in ("", "a b", "%3Cscript%3Ealert(1)%3C/script%3E", "x" * 65, "é"):
            found = (await browser.get(address([(1, 1)], name), **EDITOR)).json
            assert found["wrong"].startswith("Name the tier"), name
        page = await browser.get(f"/rfm/tier?c1-1=on&name={EVIL}", **VIEWER)
        assert page.status == 200 and "<script>alert" not in page.text
        assert "data-paint" not in (await browser.get("/rfm", **VIEWER)).text
        painting = (await browser.get("/rfm", **EDITOR)).text
        assert painting.count('type="checkbox"') == 25 and "data-paint" in painting

    with_people(steps, monkeypatch)
