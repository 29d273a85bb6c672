"""Exits at Klaviyo wait for the imports that could undo them, and for no others."""

from __future__ import annotations

import asyncio

import pytest

from segops.destinations.klaviyo.adapter import Klaviyo
from segops.destinations.port import Accepted, DestinationAway, DestinationRefuses, Later

from .klaviyo_runs import BOTH, LIST, message, run, sent
from .klaviyo_server import KlaviyoLists


def test_an_exit_waits_for_an_import_that_was_given_up() -> None:
    account = KlaviyoLists("L1")

    async def send(adapter: Klaviyo) -> None:
        adapter._imports._polls_s = [0.0]
        with pytest.raises(DestinationAway):
            await adapter.send([message(1, "ann")], LIST)
        adapter._imports._polls_s = [0.0] * 5
        assert await adapter.send([message(2, "ann", "exited")], LIST) == [Accepted()]

    run(account, send)
    account.end_imports()
    assert account.members("L1") == set()


def test_an_exit_waits_for_an_import_of_a_killed_process() -> None:
    account = KlaviyoLists("L1")
    sent(account, [message(1, "ann")])
    account.put_job(["L1"], [*account.lists["L1"]], looks=6)
    assert sent(account, [message(2, "ann", "exited")]) == [Accepted()]
    account.end_imports()
    assert account.members("L1") == set()


def test_an_exit_is_tried_later_while_an_import_that_was_given_up_lasts() -> None:
    account = KlaviyoLists("L1")

    async def send(adapter: Klaviyo) -> None:
        account.looks = 500
        with pytest.raises(DestinationAway, match="has not ended"):
            await adapter.send([message(1, "ann")], LIST)
        assert (
            await adapter.send([message(2, "ann", "exited"), message(3, "ben", "exited")], BOTH)
            == [Later("an import of them has not ended", 30.0)] * 2
        )
        assert account.events == {}
        account.end_imports()
        assert await adapter.send([message(2, "ann", "exited")], BOTH) == [Accepted()]

    run(account, send)
    assert account.members("L1") == set()


def test_an_exit_waits_for_an_import_whose_answer_never_came() -> None:
    account = KlaviyoLists("L1")
    account.faults, account.stuck = ["lost"], 1

    async def send(adapter: Klaviyo) -> None:
        with pytest.raises(DestinationAway):
            await adapter.send([message(1, "ann")], LIST)
        found = await adapter.send([message(2, "ann", "exited")], LIST)
        assert [type(each) for each in found] == [Later]
        await asyncio.sleep(1_000)
        assert await adapter.send([message(2, "ann", "exited")], LIST) == [Accepted()]

    run(account, send)
    assert account.members("L1") == set()


def test_an_exit_waits_for_no_import_that_is_awaited_here() -> None:
    account = KlaviyoLists("L1")

    async def send(adapter: Klaviyo) -> float:
        account.stuck = 1
        entering = asyncio.create_task(adapter.send([message(1, "ann")], LIST))
        await asyncio.sleep(5)
        began = asyncio.get_running_loop().time()
        assert await adapter.send([message(2, "ben", "exited")], LIST) == [Accepted()]
        entering.cancel()
        return asyncio.get_running_loop().time() - began

    assert run(account, send) < 1


@pytest.mark.parametrize("lists", [["L2"], []])
def test_imports_of_others_into_other_lists_delay_no_exit(lists: list[str]) -> None:
    account = KlaviyoLists("L1", "L2")
    sent(account, [message(1, "ann")])
    account.put_job(lists, [], looks=10_000)

    async def send(adapter: Klaviyo) -> float:
        began = asyncio.get_running_loop().time()
        assert await adapter.send([message(2, "ann", "exited")], LIST) == [Accepted()]
        return asyncio.get_running_loop().time() - began

    assert run(account, send) < 1
    assert account.members("L1") == set()


@pytest.mark.parametrize("looks", [3, 10_000])
def test_imports_of_others_that_begin_all_the_time_delay_exits_for_a_bounded_time(looks: int) -> None:
    account = KlaviyoLists("L1")
    sent(account, [message(1, "ann")])

    async def others() -> None:
        while True:
            account.put_job(["L1"], [], looks=looks)
            await asyncio.sleep(0.5)

    async def send(adapter: Klaviyo) -> float:
        importing = asyncio.create_task(others())
        await asyncio.sleep(5)
        began = asyncio.get_running_loop().time()
        assert await adapter.send([message(2, "ann", "exited")], LIST) == [Accepted()]
        importing.cancel()
        return asyncio.get_running_loop().time() - began

    # Those that end do so at the third look; the others are awaited as long as any import is.
    assert run(account, send) < (10 if looks == 3 else 150)
    assert account.members("L1") == set()


def test_an_exit_that_fails_leaves_no_entry_under_way() -> None:
    account = KlaviyoLists("L1")
    account.looks_up, account.looks, account.job_s = False, None, 3.0
    with pytest.raises(DestinationRefuses, match="status 400"):
        sent(account, [message(1, "ann"), message(2, "ben", "exited")])
    assert account.members("L1") == {"ann@shop.example"}
