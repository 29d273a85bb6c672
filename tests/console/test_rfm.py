"""RFM: the grid equals the digits of each profile, flows are exits and entries at one instant; the page."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from segops.console.pages import rfm as rfm_page
from segops.console.people import rfm as reading
from segops.console.people.rfm import RfmInForce, moves, read_grid, rfm_in_force, tier_file, tier_segments
from segops.core.events import Change
from segops.core.features.orders import PurchaseTotals
from segops.core.profile import Profile
from segops.core.scans import Estimator, draft_of, in_sample
from segops.core.scoring.rfm import Rfm
from segops.core.segments import SegmentSet
from segops.core.values import parse_instant
from segops.core.views.profile import view_profile
from segops.schemas.scans import EstimateRequest, Scanned
from segops.schemas.segments import inline
from segops.testing import Customer
from tests.console.helpers import Browser

from .people import DAY, EDITOR, NOON, VIEWER, FakeBoard, with_people

IN_FORCE = RfmInForce(Rfm(), None, 0)
orders = st.lists(
    st.tuples(st.integers(0, 300), st.sampled_from([0, 49, 50, 51, 120, 400, 900])), min_size=0, max_size=9
)


def customer(purchases: Sequence[tuple[int, int]]) -> Customer:
    found = Customer(NOON - 400 * DAY, buyer={"rfm": "new"})
    for number, (age, revenue) in enumerate(sorted(purchases, reverse=True)):
        found.send("Order Completed", NOON - age * DAY, order_id=f"o{number}", revenue=revenue)
    found.send("Page", NOON)
    found.wait(NOON)
    return found


def scanning(profiles: Sequence[Profile], live: SegmentSet) -> Any:
    """Return what answers a question as workers do, over profiles in memory."""

    async def scan(_settings: object, question: EstimateRequest, *, wait_s: float) -> Scanned:
        draft = draft_of(question.segment, question.drafts(), live)
        estimator = Estimator(draft, share=question.share, funnel=question.funnel)
        for profile in profiles:
            if in_sample(profile.id, estimator.share):
                estimator.visit(profile, NOON)
        return Scanned(NOON, NOON, len(profiles), 0, estimator.result())

    return scan


def digits_of(found: Customer) -> tuple[int, int, int] | None:
    """Return the digits by the orders that the profile's view shows."""
    view = view_profile(found.engine.segments, found.profile, NOON)
    read = next((each.value for each in view.features if isinstance(each.value, dict)), None)
    if read is None or read["last"] is None:
        return None
    digits = Rfm().value(PurchaseTotals(parse_instant(read["last"]), read["orders"], read["net"]), NOON)
    return None if digits is None else (digits.recency, digits.frequency, digits.monetary)


@settings(max_examples=25, deadline=None)
@given(st.lists(orders, max_size=6))
def test_the_grid_counts_the_digits_of_each_profile(people: list[list[tuple[int, int]]]) -> None:
    customers = [customer(purchases) for purchases in people]
    live = customer([]).engine.segments
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "patient_scan", scanning([each.profile for each in customers], live))
        grid = asyncio.run(read_grid(None, IN_FORCE, None))  # type: ignore[arg-type] # the scan is replaced
    known = [digits for each in customers if (digits := digits_of(each)) is not None]
    assert {k: n for k, n in grid.frequency.items() if n} == Counter((r, f) for r, f, _ in known)
    assert {k: n for k, n in grid.monetary.items() if n} == Counter((r, m) for r, _, m in known)
    assert sum(grid.tiers.values()) == len(known)
    assert (grid.lacks, grid.share) == ([], 1.0)


def test_a_large_population_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    known = [customer([(3, 60)]) for _ in range(200)]
    for number, each in enumerate(known):
        each.profile.id = f"user_id:{number}"
    monkeypatch.setattr(
        reading, "patient_scan", scanning([each.profile for each in known], known[0].engine.segments)
    )
    grid = asyncio.run(read_grid(None, IN_FORCE, 400_000))  # type: ignore[arg-type] # the scan is replaced
    assert grid.share == 0.5
    shown = reading.grid_data(grid, Rfm(), "frequency")
    cell = next(each for row in shown["rows"] for each in row["cells"] if each["count"])
    assert (cell["count"], cell["recency"], cell["digit"], cell["tier"]) == (2 * grid.evaluated, 5, 1, "new")
    new = next(each for each in shown["tiers"] if each["tier"] == "new")
    assert new["low"] < new["count"] < new["high"]


def change(profile: str, segment: str, at_ms: int, *, member: bool) -> Change:
    empty = (None, None, None)
    action = "entered" if member else "exited"
    return Change(profile, segment, 1, action, member, "time", at_ms, 0, 1, "", None, None, *empty, "")


def counted(*changes: Change) -> dict[tuple[str, str], int]:
    async def each() -> AsyncIterator[Change]:
        for found in changes:
            yield found

    return asyncio.run(moves(each(), {"a": "loyal", "b": "at_risk"}))


def test_an_exit_and_an_entry_at_one_instant_are_a_move() -> None:
    left, entered = change("u", "a", 5, member=False), change("u", "b", 5, member=True)
    assert counted(left, entered) == counted(entered, left, left) == {("loyal", "at_risk"): 1}
    later, other = change("u", "b", 6, member=True), change("v", "b", 5, member=True)
    assert counted(left, later) == {("", "at_risk"): 1, ("loyal", ""): 1}
    assert counted(left, entered, other, change("u", "c", 5, member=True)) == {
        ("", "at_risk"): 1,
        ("loyal", "at_risk"): 1,
    }


def test_segments_of_tiers_are_known_by_their_rule() -> None:
    file = tier_file(IN_FORCE)
    definitions = {each.key: each for each in inline(file["segments"], "test", "segments")}
    assert tier_segments(definitions, Rfm())["rfm-cant-lose"] == "cant_lose"
    assert len(tier_segments(definitions, Rfm())) == 10
    block = {"currency": "EUR"}
    others = {each.key: each for each in inline(file["segments"], "test", "segments", rfm=block)}
    assert tier_segments(others, Rfm()) == {}
    found = rfm_in_force(others)
    assert (found.written, found.rfm.purchases.currency, found.others) == (block, "EUR", 0)
    assert len(tier_segments(others, found.rfm)) == 10


async def _grid(*_args: object) -> reading.Grid:
    cells = {(r, d): r * d for r in range(1, 6) for d in range(1, 6)}
    return reading.Grid(NOON, NOON, 1.0, 300, cells, cells, {name: 9 for name, *_ in Rfm().tiers}, [])


async def _flows(_settings: object, tiers: object, from_ms: int, to_ms: int) -> reading.Flows:
    assert from_ms == to_ms - DAY == NOON + 1 - DAY
    return reading.Flows({("loyal", "champions"): 4, ("", "new"): 2}, 7)


def test_the_page_has_a_grid_tiers_and_flows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rfm_page, "read_grid", _grid)
    monkeypatch.setattr(rfm_page, "read_flows", _flows)

    async def steps(browser: Browser) -> None:
        found = (await browser.get("/rfm.json?range=1d", **EDITOR)).json
        assert [row["recency"] for row in found["grid"]["rows"]] == [5, 4, 3, 2, 1]
        assert found["flows"][0] == {"from": "loyal", "to": "champions", "count": 4}
        assert found["tier_segments"] == [{"key": "champions", "tier": "new"}]
        assert len(yaml.safe_load(found["tier_file"])["segments"]) == 10
        for address in ("/rfm?range=1d", "/rfm?range=1d&by=monetary"):
            page = await browser.get(address, **VIEWER)
            assert (page.status, "champions" in page.text, "/builder?text" in page.text) == (200, True, False)
        assert "/builder?text=version" in (await browser.get("/rfm?range=1d", **EDITOR)).text

    with_people(steps, monkeypatch)


def test_without_segments_of_tiers_the_page_says_how_to_get_flows(monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_args: object) -> reading.Grid:
        raise OSError("no broker is reachable")

    monkeypatch.setattr(rfm_page, "read_grid", away)

    async def steps(browser: Browser) -> None:
        page = await browser.get("/rfm", **EDITOR)
        assert page.status == 200
        assert "Not all can be shown: no broker is reachable" in page.text
        assert "key: rfm-champions" in page.text

    with_people(steps, monkeypatch, board=FakeBoard(definitions={}))


def test_the_page_does_not_wait_for_a_long_count_and_the_next_one_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def steps(browser: Browser) -> None:
        go = asyncio.Event()
        counts: list[int] = []

        async def slow(*_args: object) -> reading.Grid:
            counts.append(1)
            await go.wait()
            return await _grid()

        monkeypatch.setattr(rfm_page, "read_grid", slow)
        monkeypatch.setattr(rfm_page, "_WAIT_S", 0.0)
        found = (await browser.get("/rfm.json", **EDITOR)).json
        assert (found["grid"], "look again in a moment" in found["missing"]) == (None, True)
        go.set()
        monkeypatch.setattr(rfm_page, "_WAIT_S", 60.0)
        found = (await browser.get("/rfm.json", **EDITOR)).json
        assert (found["grid"] is not None, found["missing"], len(counts)) == (True, "", 1)

    with_people(steps, monkeypatch, board=FakeBoard(definitions={}))
