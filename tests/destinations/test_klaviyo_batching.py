"""Few requests to Klaviyo: few profiles one by one, many together, calls at an even pace."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import pytest

from segops.destinations.klaviyo import api
from segops.destinations.klaviyo.adapter import Klaviyo
from segops.destinations.klaviyo.batching import Batching
from segops.destinations.klaviyo.pace import Pace
from segops.destinations.port import Accepted, DestinationAway, DestinationRefuses, Message, Outcome, Refused
from segops.request_rates import Rate
from tests.klaviyo import virtual_time

from .klaviyo_runs import BOTH, LIST, METRIC, message, run, sent
from .klaviyo_server import KlaviyoLists

IMPORT, PROFILE = "POST /api/profile-bulk-import-jobs", "POST /api/profile-import"


def now() -> float:
    return asyncio.get_running_loop().time()


def entries(count: int, first: int = 0) -> list[Message]:
    return [message(number, f"u{number}") for number in range(first, first + count)]


# -- one by one, or in bulk --------------------------------------------------------------------------------


def test_a_few_are_accepted_without_a_job() -> None:
    account = KlaviyoLists("L1")
    account.latency_s = 0.3

    async def send(adapter: Klaviyo) -> float:
        await adapter.send([message(1, "ann", properties={"aov": 7}), message(2, "ben")], BOTH)
        return now()

    assert run(account, send, few=75) < 3
    assert account.members("L1") == {"ann@shop.example", "ben@shop.example"}
    assert account.properties() == {"ann@shop.example": {"aov": 7}, "ben@shop.example": {}}
    assert set(account.events) == {"c1", "c2"}
    assert sorted(account.calls) == sorted(
        [*[PROFILE] * 2, "POST /api/lists/{}/relationships/profiles", *["POST /api/events"] * 2]
    )


def test_one_of_a_few_that_is_refused_is_refused_alone() -> None:
    account = KlaviyoLists("L1")
    account.refuses = {"u1@shop.example": "role address"}
    found = sent(account, entries(3), few=75)
    assert [type(each) for each in found] == [Accepted, Refused, Accepted]
    assert isinstance(found[1], Refused) and "role address" in found[1].reason
    assert account.members("L1") == {"u0@shop.example", "u2@shop.example"}


def test_more_than_a_few_go_in_bulk() -> None:
    account = KlaviyoLists("L1")
    assert sent(account, entries(4), few=3) == [Accepted()] * 4
    assert (account.calls.count(IMPORT), account.calls.count(PROFILE)) == (1, 0)


def test_a_few_go_in_bulk_when_the_rate_of_single_requests_is_used() -> None:
    account = KlaviyoLists("L1")

    async def send(adapter: Klaviyo) -> None:
        for number in range(4):
            await adapter.send(entries(40, 40 * number), LIST)

    run(account, send, few=75)
    assert account.calls.count(PROFILE) < 160
    assert account.calls.count(IMPORT) > 0
    assert len(account.members("L1")) == 160
    assert account.refused == []


def test_a_few_go_in_bulk_when_the_rate_of_additions_is_used() -> None:
    account = KlaviyoLists("L1")

    async def send(adapter: Klaviyo) -> None:
        await asyncio.gather(*(adapter._imports.bring(entries(1, n), "L1") for n in range(12)))
        await adapter.send(entries(1, 12), LIST)

    run(account, send, few=75)
    assert account.calls.count(IMPORT) > 0
    assert len(account.members("L1")) == 13


@pytest.mark.parametrize("status", [400, 404])
def test_a_list_that_is_gone_stops_a_few(status: int) -> None:
    account = KlaviyoLists()
    account.gone = status
    with pytest.raises(DestinationRefuses, match="the list L1 does not exist"):
        sent(account, entries(2), few=75)
    assert IMPORT not in account.calls


def test_what_a_list_does_not_take_goes_in_bulk() -> None:
    account = KlaviyoLists("L1")
    account.takes = False
    assert sent(account, entries(2), few=75) == [Accepted()] * 2
    assert len(account.members("L1")) == 2


def test_events_go_together_when_they_are_many() -> None:
    account = KlaviyoLists()
    assert set(sent(account, entries(1_200), METRIC)) == {Accepted()}
    assert len(account.events) == 1_200
    assert account.calls == ["POST /api/event-bulk-create-jobs"] * 2
    # All are known, and so Klaviyo takes none of them together.
    assert set(sent(account, entries(400), METRIC)) == {Accepted()}
    assert account.calls.count("POST /api/events") == 400


def test_an_event_that_is_known_holds_up_no_others() -> None:
    account = KlaviyoLists()
    sent(account, entries(1), METRIC)

    async def send(adapter: Klaviyo) -> float:
        await adapter.send([message(0, "u0", quiet=True), *entries(999, 1)], METRIC)
        return now()

    assert run(account, send) < 5
    assert len(account.events) == 1_000


def test_events_that_go_together_say_whether_flows_begin() -> None:
    account = KlaviyoLists()
    quiet = [message(n, f"u{n}", quiet=n % 2 == 0) for n in range(400)]
    sent(account, quiet, METRIC)
    assert account.calls == ["POST /api/event-bulk-create-jobs"]
    assert all(account.events[each.change_id]["backfill"] == each.quiet for each in quiet)
    assert all(account.entries[each.change_id] == each.quiet for each in quiet)


def test_large_bodies_are_divided() -> None:
    account = KlaviyoLists("L1")
    text = "x" * 90_000
    messages = [message(n, f"u{n}", properties={"text": text}) for n in range(60)]
    assert set(sent(account, messages, BOTH)) == {Accepted()}
    assert account.calls.count(IMPORT) == 2
    assert len(account.members("L1")) == len(account.events) == 60


def test_many_exits_are_removed_in_several_requests() -> None:
    account = KlaviyoLists("L1")
    sent(account, entries(1_100))
    assert set(sent(account, [message(n, f"u{n}", "exited") for n in range(1_100)])) == {Accepted()}
    assert account.members("L1") == set()
    assert account.calls.count("DELETE /api/lists/{}/relationships/profiles") == 2


# -- callers together --------------------------------------------------------------------------------------


class Service:
    """Takes batches, each for a second, or as long as it is told."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.lasts_s = 1.0
        self.cancelled = 0

    async def send(self, messages: Sequence[Message]) -> list[Outcome]:
        self.batches.append([each.change_id for each in messages])
        try:
            await asyncio.sleep(self.lasts_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return [Accepted(each.change_id) for each in messages]


def test_callers_that_wait_are_sent_together_and_get_their_own_outcomes() -> None:
    service = Service()

    async def work() -> list[Sequence[Outcome]]:
        batching = Batching(service.send, 100)
        return await asyncio.gather(*(batching.send(entries(2, 2 * n)) for n in range(4)))

    found = virtual_time.run(work())
    assert found == [[Accepted(f"c{2 * n}"), Accepted(f"c{2 * n + 1}")] for n in range(4)]
    assert service.batches == [["c0", "c1"], [f"c{n}" for n in range(2, 8)]]


def test_callers_that_go_on_stay_together() -> None:
    service = Service()

    async def work() -> None:
        batching = Batching(service.send, 100)

        async def go_on(first: int) -> None:
            for number in range(4):
                await batching.send(entries(1, first + number))

        await asyncio.gather(go_on(0), go_on(10), go_on(20))

    virtual_time.run(work())
    assert [len(each) for each in service.batches] == [1, 3, 3, 3, 2]


def test_full_batches_wait_for_no_other_up_to_four() -> None:
    service = Service()

    async def work() -> float:
        batching = Batching(service.send, 2)
        await asyncio.gather(*(batching.send(entries(2, 2 * n)) for n in range(8)))
        return now()

    assert virtual_time.run(work()) == 2
    assert [len(each) for each in service.batches] == [2] * 8


def test_a_call_that_lasts_holds_up_others_for_five_seconds() -> None:
    service = Service()
    service.lasts_s = 60

    async def work() -> list[float]:
        batching = Batching(service.send, 100)

        async def timed(first: int) -> float:
            await batching.send(entries(1, first))
            return now()

        return await asyncio.gather(timed(0), timed(1), timed(2))

    assert virtual_time.run(work()) == pytest.approx([60, 65, 65], abs=0.1)


def test_a_caller_that_is_cancelled_ends_its_call_and_the_others_are_sent_again() -> None:
    service = Service()

    async def work() -> Sequence[Outcome]:
        batching = Batching(service.send, 100)
        callers = [asyncio.create_task(batching.send(entries(1, n))) for n in range(3)]
        await asyncio.sleep(1.5)
        callers[1].cancel()
        assert (await asyncio.gather(*callers, return_exceptions=True))[0] == [Accepted("c0")]
        return await callers[2]

    assert virtual_time.run(work()) == [Accepted("c2")]
    assert (service.batches, service.cancelled) == ([["c0"], ["c1", "c2"], ["c2"]], 1)


def test_a_caller_that_is_cancelled_while_it_waits_is_not_sent() -> None:
    service = Service()

    async def work() -> None:
        batching = Batching(service.send, 100)
        callers = [asyncio.create_task(batching.send(entries(1, n))) for n in range(3)]
        await asyncio.sleep(0.5)
        callers[1].cancel()
        await asyncio.gather(*callers, return_exceptions=True)

    virtual_time.run(work())
    assert (service.batches, service.cancelled) == ([["c0"], ["c2"]], 0)


def test_a_caller_that_is_cancelled_as_its_call_ends_does_not_take_the_others_along() -> None:
    callers: list[asyncio.Task[Sequence[Outcome]]] = []

    async def send(messages: Sequence[Message]) -> list[Outcome]:
        await asyncio.sleep(1)
        if len(messages) == 2:
            callers[1].cancel()
        return [Accepted(each.change_id) for each in messages]

    async def work() -> Sequence[Outcome]:
        batching = Batching(send, 100)
        callers.extend(asyncio.create_task(batching.send(entries(1, n))) for n in range(3))
        async with asyncio.timeout(60):
            return await callers[2]

    assert virtual_time.run(work()) == [Accepted("c2")]


def test_all_callers_of_a_call_that_fails_get_its_error() -> None:
    async def fail(messages: Sequence[Message]) -> list[Outcome]:
        await asyncio.sleep(1)
        raise DestinationAway("away")

    async def work() -> list[object]:
        batching = Batching(fail, 100)
        return await asyncio.gather(*(batching.send(entries(1, n)) for n in range(3)), return_exceptions=True)

    assert [str(each) for each in virtual_time.run(work())] == ["away"] * 3


def test_closing_ends_all_calls() -> None:
    service = Service()

    async def work() -> list[object]:
        batching = Batching(service.send, 100)
        callers = [asyncio.create_task(batching.send(entries(1, n))) for n in range(2)]
        await asyncio.sleep(0.5)
        batching.close()
        return await asyncio.gather(*callers, return_exceptions=True)

    assert [type(each) for each in virtual_time.run(work())] == [DestinationAway] * 2
    assert (service.batches, service.cancelled) == ([["c0"]], 1)


def test_closing_the_adapter_ends_what_is_under_way() -> None:
    account = KlaviyoLists("L1")
    account.stuck = 1

    async def work(adapter: Klaviyo) -> float:
        sending = asyncio.create_task(adapter.send(entries(1), LIST))
        await asyncio.sleep(5)
        await adapter.close()
        with pytest.raises(DestinationAway, match="was closed"):
            await sending
        return now()

    assert run(account, work) < 10


def test_a_request_that_fails_ends_those_beside_it() -> None:
    ended: list[str] = []

    async def lasting() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("lasting")

    async def failing() -> None:
        await asyncio.sleep(1)
        raise DestinationAway("away")

    async def work() -> float:
        with pytest.raises(DestinationAway):
            await api.all_of([lasting(), failing()])
        assert ended == ["lasting"]
        return now()

    assert virtual_time.run(work()) < 2


def test_audiences_and_exits_go_apart() -> None:
    account = KlaviyoLists("L1")
    account.lists["L1"].add("known")
    account.profiles["known"] = {"email": "known@shop.example", "properties": {}}
    account.put_job(["L1"], [], looks=10_000)

    async def work(adapter: Klaviyo) -> list[float]:
        async def timed(*messages: Message) -> float:
            await adapter.send(messages, LIST)
            return now()

        return await asyncio.gather(timed(message(1, "known", "exited")), timed(message(2, "ann")))

    exited, entered = run(account, work, few=75)
    assert entered < 1 < exited


# -- the pace ----------------------------------------------------------------------------------------------


def test_a_pace_never_waits_for_the_end_of_a_minute() -> None:
    async def work() -> tuple[list[float], int]:
        pace = Pace(Rate(10, 150), now)
        sent_at = []
        for _ in range(300):
            await pace.wait()
            sent_at.append(now())
        await asyncio.sleep(100)
        return sent_at, pace.spare()

    sent_at, spare = virtual_time.run(work())
    waits = [after - before for before, after in pairwise(sent_at)]
    assert max(waits) < 0.5
    assert all(sum(at <= each < at + 60 for each in sent_at) <= 150 for at in sent_at)
    assert sent_at[-1] < 130  # no slower than the rate allows, but for its margin
    assert spare == 10


def test_each_limit_of_the_account_leaves_a_pace() -> None:
    assert all(each.rate.steady > each.rate.burst for each in api.ENDPOINTS)
