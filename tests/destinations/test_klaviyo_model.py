"""Klaviyo's lists equal the members after any faults, no event is lost, and no limit is exceeded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from segops.destinations.klaviyo.adapter import Klaviyo
from segops.destinations.port import Accepted, DestinationAway, Later, Message, Refused
from tests.rest import examples

from .klaviyo_runs import BOTH, message, run
from .klaviyo_server import FAULTS, KlaviyoLists

NAMES, REFUSED = "abcdef", "f"
Wave = dict[str, Any]
WAVES = st.lists(
    st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["entered", "exited", "updated"])), max_size=5
)


@st.composite
def accounts(draw: st.DrawFn) -> KlaviyoLists:
    """Draw an account that fails in the ways of the service, and refuses one person."""
    account = KlaviyoLists("L1", "L2")
    account.faults = draw(st.lists(st.sampled_from(FAULTS), max_size=8))
    account.looks = draw(st.sampled_from([1, 3, 11]))
    account.cancels, account.stuck = draw(st.integers(0, 2)), draw(st.integers(0, 1))
    account.page_cap = draw(st.integers(1, 3))
    account.payloads, account.pointers = draw(st.booleans()), draw(st.booleans())
    account.checks_at_once = draw(st.booleans())
    account.refuses = {f"{REFUSED}@shop.example": "role address"}
    return account


async def tell(adapter: Klaviyo, messages: Sequence[Message]) -> None:
    """Send messages until each is settled, as the delivery does."""
    while messages:
        try:
            outcomes = await adapter.send(messages, BOTH)
        except DestinationAway:
            await asyncio.sleep(0.5)
            continue
        assert len(outcomes) == len(messages)
        for each, outcome in zip(messages, outcomes, strict=True):
            never = each.address.startswith(REFUSED)
            assert isinstance(outcome, Later | (Refused if never else Accepted)), outcome
        messages = [m for m, outcome in zip(messages, outcomes, strict=True) if isinstance(outcome, Later)]
        await asyncio.sleep(30 if messages else 0)


@examples(20, of=200)
@given(WAVES, accounts(), st.sampled_from([0, 2, 75]))
def test_after_any_faults_the_list_is_the_members(waves: list[Wave], account: KlaviyoLists, few: int) -> None:
    messages = [
        [
            message(10 * n + i, name, action, properties={"n": n})
            for i, (name, action) in enumerate(wave.items())
        ]
        for n, wave in enumerate(waves)
    ]

    async def work(adapter: Klaviyo) -> None:
        for each in messages:
            await asyncio.gather(tell(adapter, each[:2]), tell(adapter, each[2:]))

    run(account, work, few=few)
    account.end_imports()
    moved = {name: action for wave in waves for name, action in wave.items() if action != "updated"}
    staying = {name for name, action in moved.items() if action == "entered" and name != REFUSED}
    assert account.members("L1") == {f"{name}@shop.example" for name in staying}
    values = {name: n for n, wave in enumerate(waves) for name, action in wave.items() if action != "exited"}
    assert account.properties() == {
        f"{each}@shop.example": {"n": n} for each, n in values.items() if each != REFUSED
    }
    happened = [m for each in messages for m in each if m.action != "updated" and m.person.user_id != REFUSED]
    assert set(account.events) == {each.change_id for each in happened}
    assert account.refused == []
