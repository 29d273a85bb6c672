"""Events of a metric, by which flows begin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from segops.destinations.klaviyo import api, bodies
from segops.destinations.klaviyo.api import KlaviyoApi, all_of
from segops.destinations.port import Message, Refused

MOST_EVENTS: Final = 1_000


async def record(account: KlaviyoApi, messages: Sequence[Message], metric: str) -> dict[str, Refused]:
    """Record an event for each message; return those that Klaviyo refuses, by address.

    Events go one by one as long as the rate allows it, since the answer to a request of several names none;
    else in requests of at most 1,000. One that is refused as a whole is sent again in halves: it may hold an
    event that is known already.
    """
    if len(messages) <= max(1, account.spare(api.EVENT)):
        return await _singly(account, messages, metric)
    refused: dict[str, Refused] = {}
    for some in bodies.divided(messages, lambda each: bodies.event(each, metric), MOST_EVENTS):
        answer = await account.call(api.EVENTS, body=bodies.events_job(some, metric))
        if not answer.is_accepted:
            half = (len(some) + 1) // 2
            refused |= await record(account, some[:half], metric)
            refused |= await record(account, some[half:], metric)
    return refused


async def _singly(account: KlaviyoApi, messages: Sequence[Message], metric: str) -> dict[str, Refused]:
    answers = await all_of(account.call(api.EVENT, body=bodies.event(each, metric)) for each in messages)
    return {
        each.address: Refused(answer.detail)
        for each, answer in zip(messages, answers, strict=True)
        if not answer.is_accepted
    }
