"""After any faults and kills, all that the account has is pulled, and no request was over a limit."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.core.errors import UserError
from segops.klaviyo.errors import KeyRefused, Unavailable
from tests.klaviyo.objects import add_event, add_profile
from tests.klaviyo.runs import NOW_MS, Killed, MemoryJournal, pull
from tests.klaviyo.stand_in import FAULTS, StandIn, iso
from tests.klaviyo.virtual_time import run
from tests.rest import examples, rest

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
METRICS = ("Placed Order", "Opened Email", "Tried on a hat")


def account(seed: int, **options: object) -> StandIn:
    """Return an account with events of 400 days, of which some appear late, and some at one time."""
    dice, found = random.Random(seed), StandIn(**options)
    for number in range(12):
        age_ms = dice.choice((0, 3 * HOUR_MS, 30 * DAY_MS, 700 * DAY_MS))
        add_profile(found, f"P{number}", NOW_MS - age_ms - dice.randrange(HOUR_MS))
    for number in range(40):
        age_ms = dice.choice((0, 0, dice.randrange(400 * DAY_MS), 90 * DAY_MS))
        event_id, profile = f"E{number}", f"P{dice.randrange(12)}"
        add_event(found, event_id, dice.choice(METRICS), profile, NOW_MS - age_ms, __event_id=event_id)
        if age_ms == 0:
            found.visible_from[event_id] = dice.choice((0.0, 100.0, 2_000.0))
    return found


def expected(found: StandIn) -> set[str]:
    return {f"klaviyo:{each['id']}" for each in found.events}


def events_of(journal: MemoryJournal) -> set[str]:
    return {name for name, event in journal.events().items() if event["type"] == "track"}


def profiles_of(journal: MemoryJournal) -> set[str]:
    return {name.split(":")[1] for name, each in journal.events().items() if each["type"] == "identify"}


async def all_visible() -> None:
    await asyncio.sleep(2_100)


KILLS = st.one_of(
    st.tuples(st.just("commit"), st.integers(1, 12), st.booleans()),
    st.tuples(st.just("second"), st.floats(0, 90), st.just(False)),
)


@given(
    st.integers(0, 10_000),
    st.lists(st.one_of(st.none(), st.sampled_from(FAULTS)), max_size=25),
    st.lists(KILLS, max_size=4),
)
@examples(12, of=150)
def test_faults_and_kills_lose_nothing_and_break_no_limit(
    seed: int, faults: list[str | None], kills: list[tuple[str, float, bool]]
) -> None:
    found = account(seed, page_cap=3, faults=list(faults))

    async def main() -> MemoryJournal:
        journal, dice = MemoryJournal(), random.Random(seed)
        async with found.serving() as url:
            for kind, when, done in kills:
                if kind == "commit":
                    journal.kills[journal.commits + int(when)] = done
                limit_s = when if kind == "second" else None
                with suppress(Killed, TimeoutError):
                    async with asyncio.timeout(limit_s):
                        await pull(url, journal, connections=3, dice=dice)
                journal.kills.clear()
            await all_visible()
            await pull(url, journal, connections=3, dice=dice)
        return journal

    journal = run(main())
    assert events_of(journal) == expected(found)
    assert profiles_of(journal) == {each["id"] for each in found.profiles}
    assert found.refused == []


def test_following_pulls_what_comes_once() -> None:
    found = account(3)

    async def main() -> MemoryJournal:
        journal, stop = MemoryJournal(), asyncio.Event()
        async with found.serving() as url:
            asyncio.get_running_loop().call_later(3_000, stop.set)
            await pull(url, journal, follow=True, stop=stop, interval_ms="1m")
        return journal

    journal = run(main())
    assert events_of(journal) == expected(found)
    assert len(journal.records) == len(journal.events())  # polls do not repeat the overlap
    assert len(found.arrivals["/api/events"]) > 40


def test_stop_commits_what_was_read_and_marks_the_end() -> None:
    found = account(5, page_cap=1)

    async def main() -> tuple[MemoryJournal, int]:
        journal, stop = MemoryJournal(), asyncio.Event()
        async with found.serving() as url:
            asyncio.get_running_loop().call_later(0.3, stop.set)
            await pull(url, journal, stop=stop)
            before = len(journal.records)
            state = await journal.read()
            assert state is not None and not state.running
            await all_visible()
            await pull(url, journal)
        return journal, before

    journal, before = run(main())
    assert 0 < before < len(journal.records)
    assert events_of(journal) == expected(found)


def test_profile_is_pulled_again_when_it_changes() -> None:
    found = StandIn()
    profile = add_profile(found, "P1", NOW_MS - DAY_MS)

    async def main() -> MemoryJournal:
        journal = MemoryJournal()
        async with found.serving() as url:
            await pull(url, journal)
            await asyncio.sleep(100)
            profile["attributes"]["updated"] = iso(NOW_MS + 50_000)
            profile["attributes"]["subscriptions"]["email"]["marketing"]["consent"] = "UNSUBSCRIBED"
            await pull(url, journal)
            await pull(url, journal)
        return journal

    consents = [each["traits"]["consent"]["email"] for each in run(main()).events().values()]
    assert consents == [True, False]


@pytest.mark.parametrize(
    ("options", "key", "words"),
    [
        ({}, "pk_wrong", ("does not know", "accounts:read, events:read, profiles:read")),
        ({"scopes": ("accounts:read", "profiles:read")}, None, ("lacks the scope events:read",)),
        ({"scopes": ()}, None, ("lacks the scope accounts:read",)),
    ],
)
def test_wrong_key_is_a_clear_error_that_does_not_show_it(
    options: dict[str, object], key: str | None, words: tuple[str, ...]
) -> None:
    found = account(1, **options)

    async def main() -> None:
        async with found.serving() as url:
            await pull(url, MemoryJournal(), **({} if key is None else {"key": key}))

    with pytest.raises(KeyRefused) as failed:
        run(main())
    assert all(word in str(failed.value) for word in words)
    assert "pk_" not in str(failed.value)


def test_position_of_another_account_is_refused() -> None:
    found = account(1)

    async def main() -> None:
        journal = MemoryJournal()
        async with found.serving() as url:
            await pull(url, journal)
            assert journal.state is not None
            journal.state = journal.state.replace(b'"AbC123"', b'"Other1"')
            await pull(url, journal)

    with pytest.raises(UserError, match="of the Klaviyo account Other1, the key of AbC123"):
        run(main())


@rest
def test_lasting_failure_ends_the_pull_and_a_later_run_goes_on() -> None:
    found = account(2, faults=["503"] * 2_000)

    async def main() -> MemoryJournal:
        journal = MemoryJournal()
        async with found.serving() as url:
            with pytest.raises(Unavailable, match="status 503"):
                await pull(url, journal)
            found.faults.clear()
            await all_visible()
            await pull(url, journal)
        return journal

    assert events_of(run(main())) == expected(found)


def test_what_cannot_be_read_is_a_dead_letter_with_its_bytes() -> None:
    found = StandIn(validate=False)
    add_profile(found, "P1", NOW_MS - DAY_MS)
    add_event(found, "E1", "Placed Order", "P1", NOW_MS - DAY_MS)
    odd = add_event(found, "E2", "Placed Order", "P1", NOW_MS - 2 * DAY_MS)
    odd["attributes"]["event_properties"] = "a text"
    add_event(found, "E3", "Opened Email", "nobody", NOW_MS - 3 * DAY_MS)
    add_event(found, "E4", "Opened Email", "P1", NOW_MS - 4 * DAY_MS, body="x" * 40_000)

    async def main() -> MemoryJournal:
        journal = MemoryJournal()
        async with found.serving() as url:
            await pull(url, journal)
        return journal

    journal = run(main())
    dead = {each.reason: dict(each.headers) for each in journal.records if each.reason}
    assert events_of(journal) == {"klaviyo:E1"}
    assert set(dead) == {"klaviyo_schema", "too_large"}
    assert dead["too_large"]["segops-origin"] == b"klaviyo:AbC123:events"
    unread = [each.value for each in journal.records if each.reason == "klaviyo_schema"]
    assert [b'"a text"' in each for each in sorted(unread, key=len)].count(True) == 1 and len(unread) == 2
